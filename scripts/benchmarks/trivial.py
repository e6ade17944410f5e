"""What acting without looking earns, and a policy that was trained on the proxy reward."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.environment import EnvironmentRef
from rlhf_envs.envs.registration import ENVIRONMENTS as SUITE
from rlhf_envs.envs.registration import is_native
from rlhf_envs.evaluation.episodes import FIRST_SEED, Copies, make_copies, play
from rlhf_envs.evaluation.policies import AnyPolicy, IdlePolicy, Policy, RandomPolicy, ScriptedPolicy
from rlhf_envs.evaluation.returns import evaluate
from rlhf_envs.testing.checks import usual_action
from scripts.benchmarks import NOTHING, Log, figure, markdown_table, require_positive
from scripts.benchmarks.cluster import finish_all
from scripts.benchmarks.learning import RUNS_FOLDER
from scripts.benchmarks.runs import TrainingRun, configure, folder_of

TRIVIAL = {
    "constant": "best constant action",
    "usual": "what the expert does most",
    "held": "the expert's first action held",
    "proxy": "scripted proxy policy",
}
"""The policies by their columns; random actions and the scripted expert are the ends of the scale."""


@dataclass(frozen=True)
class Trivial:
    """Play the suite's environments without looking, and train PPO on their proxy rewards.

    The runs are those on the proxy reward of `learning`, in the same folder.

    Attributes:
        env: the environments, of the suite.
        episodes: of each policy, on the same seeds.
        first_seed: of the runs on the proxy reward; the others follow.
        seeds: how many of them; 0 trains none.
        jobs: how many runs at a time, each in a process of its own.
    """

    name: ClassVar[str] = "trivial"
    env: tuple[str, ...] = tuple(SUITE)
    episodes: int = 64
    first_seed: int = 0
    seeds: int = 2
    jobs: int = 1

    def __post_init__(self) -> None:
        require_positive(self, "episodes", "jobs")
        if self.seeds < 0 or self.first_seed < 0:
            raise ValueError(f"seeds and first_seed must be 0 or more, not {self.seeds} and {self.first_seed}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """True returns of all policies in all environments.

        Raises:
            ValueError: if an environment is not one of the suite, or a folder holds another run; before any work.
            RunInterrupted: if it was stopped.
        """
        for environment_id in self.env:
            if not is_native(environment_id):
                raise ValueError(f"{environment_id} is not one of the suite: {', '.join(SUITE)}.")
        planned = {
            (environment_id, seed): TrainingRun(
                configure(environment_id, "proxy", seed),
                folder_of(environment_id, out / RUNS_FOLDER) / f"proxy-{seed}",
            )
            for seed in range(self.first_seed, self.first_seed + self.seeds)
            for environment_id in dict.fromkeys(self.env)
        }
        finish_all(planned.values(), self.jobs, out, log)
        rows = []
        for environment_id in dict.fromkeys(self.env):
            log(environment_id)
            ppo = [
                run.directory.read_metrics()["true_return_mean"]
                for (id, _), run in planned.items()
                if id == environment_id
            ]
            rows.append({"env": environment_id, **self._trivial(EnvironmentRef(environment_id)), "ppo": ppo})
        return {"rows": rows}

    def _trivial(self, environment: EnvironmentRef) -> dict[str, float]:
        with closing(make_copies(environment, self.episodes)) as copies:
            taken = [step.actions for step in play(ScriptedPolicy("expert").bind(copies), copies, FIRST_SEED)]
        policies: dict[str, AnyPolicy] = {
            "random": RandomPolicy(),
            "expert": ScriptedPolicy("expert"),
            "constant": IdlePolicy(),
            "usual": Held(usual_action(np.concatenate(taken))),
            "held": Held(),
            "proxy": ScriptedPolicy("proxy"),
        }
        return {name: evaluate(policy, environment, episodes=self.episodes).mean for name, policy in policies.items()}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """A row for each environment, in shares of what the expert is ahead of random actions."""
        rows = []
        for row in measured["rows"]:
            ahead = row["expert"] - row["random"]
            shares = {name: (row[name] - row["random"]) / ahead for name in TRIVIAL}
            # A policy that nothing was learned for may choose the best of what needs no learning.
            best = max(0.0, *(share for name, share in shares.items() if name != "proxy"))
            trained = [(value - row["random"]) / ahead for value in row["ppo"]]
            rows.append(
                {
                    "environment": f"`{row['env']}`",
                    "random actions": figure(row["random"]),
                    "scripted expert": figure(row["expert"]),
                    **{title: f"{shares[name]:.2f}" for name, title in TRIVIAL.items()},
                    "PPO on the proxy": ", ".join(f"{share:.2f}" for share in trained) or NOTHING,
                    "of the way from the best trivial": ", ".join(
                        f"{(share - best) / (1 - best):.2f}" for share in trained
                    )
                    or NOTHING,
                }
            )
        return (
            "True returns of random actions and of the scripted expert; all others as their share of the way from the "
            "one to the other, and PPO on the proxy (a figure for each seed) also as its share of the way from the "
            f"best policy that does not look, the scripted proxy policy not counted:\n\n{markdown_table(rows)}"
        )


@dataclass(frozen=True, eq=False)
class Held:
    """Repeats one action.

    Attributes:
        action: which; None for what the scripted expert does first, in each episode.
    """

    action: NDArray[Any] | None = None

    def bind(self, copies: Copies) -> Policy:
        """The policy for these copies."""
        held = None if self.action is None else np.repeat(self.action[None], copies.count, axis=0)

        def act(observations: Any) -> NDArray[Any]:
            nonlocal held
            if held is None:
                held = copies.scripted_action("expert")
            return held

        return act
