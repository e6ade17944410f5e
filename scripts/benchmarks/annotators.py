"""What mistakes of annotators cost, and what estimating their reliability gains."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from agents.train import build
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.evaluation.policies import SB3Policy
from rlhf_envs.evaluation.returns import evaluate
from rlhf_envs.feedback import PreferenceStore, ScriptedTeacher, TeacherConfig
from rlhf_envs.kinds import Judgement
from rlhf_envs.queries import Purpose
from rlhf_envs.rewards import EnsembleConfig, RewardEnsemble
from rlhf_envs.rewards.joint_fitting import estimate_from_answers
from rlhf_envs.sb3 import PreferenceCallback
from scripts.benchmarks import Log, figure, markdown_table, mean_and_spread
from scripts.benchmarks.runs import configure

CLEAN, EQUAL, WEIGHTED = "all answers right", "mixed, equal weights", "mixed, reliability estimated"

_CARELESS = 0.3
_MEMBERS = 10


@dataclass(frozen=True)
class Annotators:
    """Train on the answers of an oracle, one who errs in 30% and one who always says left, a third of them each.

    For comparison: the same number of answers by the oracle alone, and the mixed answers with equal weights.

    Attributes:
        env: the environments.
        answers: of each of the three annotators.
        timesteps: environment steps of a run; by default those of the learning benchmark.
        seeds: how many runs of each kind.
    """

    name: ClassVar[str] = "annotators"
    env: tuple[str, ...] = ("rlhf/Driving-v1", "rlhf/Recommender-v1")
    answers: int = 240
    timesteps: int | None = None
    seeds: int = 3

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Train every run; the true return of each, and the error rates that were estimated."""
        runs = []
        for seed in range(self.seeds):
            for environment_id in self.env:
                for kind in (CLEAN, EQUAL, WEIGHTED):
                    found = self._run(environment_id, kind, seed)
                    runs.append({"env": environment_id, "kind": kind, "seed": seed, **found})
                    log(f"{environment_id}, seed {seed}, {kind}: true return {figure(found['true_return'])}")
        return {"runs": runs}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """Returns per kind of answers, and estimated and real error rates."""
        runs = measured["runs"]
        returns = []
        for environment_id in dict.fromkeys(run["env"] for run in runs):
            row = {"environment": f"`{environment_id}`"}
            for kind in (CLEAN, EQUAL, WEIGHTED):
                of_kind = [run for run in runs if run["env"] == environment_id and run["kind"] == kind]
                row[kind] = mean_and_spread([run["true_return"] for run in of_kind])
            returns.append(row)
        rates = [
            {"environment": f"`{run['env']}`", "seed": str(run["seed"])}
            | {name: f"{run['estimated'][name]:.0%} ({run['wrong'][name]:.0%})" for name in sorted(run["estimated"])}
            for run in sorted(runs, key=lambda run: str(run["env"]))
            if run["kind"] == WEIGHTED
        ]
        return (
            f"True returns, mean ± standard deviation over seeds:\n\n{markdown_table(returns)}\n\n"
            "Estimated error rate of each annotator, and in brackets the share of answers that really was wrong:\n\n"
            f"{markdown_table(rates)}"
        )

    def _run(self, environment_id: str, kind: str, seed: int) -> dict[str, Any]:
        config = configure(environment_id, "learned", seed, self.timesteps, 3 * self.answers)
        labels = replace(config.labels, wait_for_answers=True, reliability=kind == WEIGHTED)
        team = _team(seed, clean=kind == CLEAN)
        environment = config.required_environment
        env, model = build(config)

        def answer(_awaited: str) -> None:
            """All teachers answer in turn, so that each gives the same number of answers in every round."""
            while sum(_answer_one(store, teacher) for teacher in team):
                pass

        with (
            TemporaryDirectory() as folder,
            PreferenceStore.create(Path(folder) / "feedback.db", StoredEnvironment(environment)) as store,
        ):
            callback = PreferenceCallback(
                env, store, labels, None, config.ensemble, config.seed, on_wait=answer, fit=config.fit
            )
            model.learn(config.timesteps, callback=callback)
            judged = evaluate(SB3Policy(model), environment, episodes=config.run.evaluation_episodes)
            env.close()
            found: dict[str, Any] = {"true_return": judged.mean}
            if labels.reliability:
                many = EnsembleConfig(members=_MEMBERS)
                fresh = RewardEnsemble(
                    env.observation_space, env.action_space, many, config.seed, absorbing=env.terminates
                )
                estimates = estimate_from_answers(store.live_answers(Purpose.TRAIN), store, fresh)
                found["estimated"] = {name: estimates[name].error_rate for name in estimates}
                found["wrong"] = {teacher.name: _share_wrong(store, teacher.name) for teacher in team}
        return found


def _team(seed: int, clean: bool) -> list[ScriptedTeacher]:
    oracle = ScriptedTeacher(TeacherConfig(), "oracle")
    if clean:
        return [oracle]
    careless = ScriptedTeacher(TeacherConfig(mistake=_CARELESS, seed=seed), "careless")
    return [oracle, careless, ScriptedTeacher(TeacherConfig(habit=1.0), "always left")]


def _answer_one(store: PreferenceStore, teacher: ScriptedTeacher) -> bool:
    query = store.take(teacher.name)
    if query is None:
        return False
    store.answer_many([teacher.answer(query)])
    return True


def _share_wrong(store: PreferenceStore, annotator: str) -> float:
    """How many of an annotator's answers an oracle would not have given."""
    truth = Judgement(TeacherConfig())
    answers = {live.query_id: live.choice for live in store.live_answers(annotator=annotator)}
    wrong = [truth.compare(query) != answers[query.id] for query in store.queries() if query.id in answers]
    return sum(wrong) / len(wrong) if wrong else math.nan
