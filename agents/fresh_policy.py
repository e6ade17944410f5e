"""A second policy that is trained from scratch on the final reward.

A policy that learns while its reward is still being learned can end where an early reward has led it, or begin too late
to climb what the last answers pay. To begin again costs computing, and no answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from rich.console import Console
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.callbacks import ProgressCallback, StopRequest, stopped_by_alarm
from agents.config import RunConfig
from agents.training import ResumableTraining
from rlhf_envs.evaluation import SB3Policy, learned_return
from rlhf_envs.feedback.store import StoreLockedError
from rlhf_envs.feedback.store.status import OwnerRequests
from rlhf_envs.loop import FeedbackLoop
from rlhf_envs.loop.alarm import LITTLE_GAIN
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.runs import RunDirectory
from rlhf_envs.sb3 import KLPenalty, PreferenceCallback, PreferenceVecEnv, RewardModelCallback, ScoringCallback
from rlhf_envs.terminal import counted

_SEED_STREAM = 1
_EPISODES = 50
_FEWEST_STEPS = 20_000
"""In fewer no policy learns much, so that to begin again would tell nothing."""

_CLEAR_LEAD = 4

Kept = Literal["first", "fresh"]


@dataclass(frozen=True)
class Choice:
    """Which of two policies a run keeps.

    Attributes:
        first, fresh: what they earn in an episode by the final reward, which has learned from comparisons of their
            clips as well.
        first_preferred, fresh_preferred, ties: answers to these comparisons.
        kept: the one that earns more, unless the other was clearly preferred: by a lead of at least four answers and of
            half of all.
    """

    first: float
    fresh: float
    first_preferred: int = 0
    fresh_preferred: int = 0
    ties: int = 0
    kept: Kept = field(init=False)

    def __post_init__(self) -> None:
        lead = self.fresh_preferred - self.first_preferred
        is_clear = abs(lead) >= max(_CLEAR_LEAD, (self.fresh_preferred + self.first_preferred + self.ties) / 2)
        decides = lead if is_clear else self.fresh - self.first
        object.__setattr__(self, "kept", "fresh" if decides > 0 else "first")

    def __str__(self) -> str:
        earned = {"first": self.first, "fresh": self.fresh}
        preferred = {"first": self.first_preferred, "fresh": self.fresh_preferred}
        other: Kept = "first" if self.kept == "fresh" else "fresh"
        answers = sum(preferred.values()) + self.ties
        compared = ""
        if answers:
            compared = (
                f" Of {counted(answers, 'answer')} to comparisons of their clips, which the reward has learned from as "
                f"well, it won {preferred[self.kept]:,} and lost {preferred[other]:,}."
            )
        return (
            f"Of the first policy and one that was trained from scratch, the {self.kept} one is kept: by the final "
            f"reward it earns {earned[self.kept]:.1f} in an episode, the other {earned[other]:.1f}.{compared}"
        )


def expects_fresh(config: RunConfig, model: BaseAlgorithm) -> bool:
    """Whether a second policy follows a training that goes its usual way.

    Args:
        config: of the run.
        model: what it trains.
    """
    if config.run.fresh_policy != "auto":
        return config.run.fresh_policy == "always"
    # A replay buffer is paid anew after each fit, and what a pretrained policy knows is not learned again as quickly.
    is_pretrained = config.run.pretrain > 0 or getattr(model.policy, "is_pretrained", False)
    return config.timesteps >= _FEWEST_STEPS and not is_pretrained and isinstance(model, OnPolicyAlgorithm)


def why_afresh(config: RunConfig, model: BaseAlgorithm, scoring: ScoringCallback) -> str | None:
    """Why a second policy is to be trained after the first, in a sentence; None where that is not wanted.

    Args:
        config: of the run.
        model, scoring: of the first training, which has ended.
    """
    if config.run.fresh_policy == "never" or not isinstance(scoring, PreferenceCallback):
        return None
    loop = scoring.loop
    if not loop.has_reward or stopped_by_alarm(scoring) or not loop.progress.asked or config.offline is not None:
        return None
    begins = "A second policy begins anew, on the final reward"
    if config.run.fresh_policy == "always":
        return f"{begins} (--fresh-policy always)."
    if model.num_timesteps < _FEWEST_STEPS:
        return None
    gain = loop.alarm.gained(config.timesteps)
    if gain is not None and gain < LITTLE_GAIN:
        return (
            f"{begins}: what the first does is rated {abs(gain):.1f} standard deviations "
            f"{'better' if gain > 0 else 'worse'} than what was asked about, where at least {LITTLE_GAIN} is usual "
            "(--fresh-policy never does without)."
        )
    if not expects_fresh(config, model):
        return None
    return f"{begins}, which the first has not known from the beginning (--fresh-policy never does without)."


def fresh_config(config: RunConfig) -> RunConfig:
    """The settings of the second training: the same with a seed of its own."""
    [seed] = np.random.SeedSequence([config.seed, _SEED_STREAM]).generate_state(1)
    return replace(config, seed=int(seed))


def train_afresh(
    config: RunConfig,
    directory: RunDirectory,
    env: PreferenceVecEnv,
    model: BaseAlgorithm,
    loop: FeedbackLoop,
    kl: KLPenalty | None,
    console: Console,
    stop: StopRequest,
    imitate: Callable[[], dict[str, Any]] | None,
) -> dict[str, Any]:
    """Train a policy on a reward model that no longer changes; what was spent on it, as in metrics.json.

    If the run is interrupted, the same call goes on from the newest checkpoint.

    Args:
        config: `fresh_config` of the run.
        directory: of the run.
        env, model: what is trained, and where.
        loop: of the first training; its reward model is final, and its annotators are told how far this one is.
        kl: charges for the distance from a pretrained policy.
        console, stop: as those of the first training.
        imitate: pretrains the policy, and returns how that went; None where nothing is pretrained.

    Raises:
        ValueError, OSError: if a checkpoint is damaged or cannot be written.
        RunInterrupted: if the run was asked to stop; it can be resumed.
    """
    progress = ProgressCallback(config.timesteps, console, stop)
    scoring = progress.scoring = RewardModelCallback(env, loop.ensemble, config.labels.visit_every)
    scoring.kl = kl
    # Where a run is extended, its final reward is another one, and so is what was trained on it.
    folder = directory.fresh_policy_path / f"{config.timesteps}"
    training = ResumableTraining(config, directory, model, scoring, progress, stop, folder / "checkpoints")
    if not training.restore() and imitate is not None:
        progress.before = imitate()
        if kl is not None:
            kl.freeze()
    training.run(folder / "tensorboard", folder / "progress.csv", [_StatusCallback(loop, stop)])
    return progress.state()


class _StatusCallback(BaseCallback):
    """Tells annotators how far a second training is, and does the one request of a run's owner that is left: to stop.

    Args:
        loop: whose store the screens look at.
        stop: the request.
    """

    def __init__(self, loop: FeedbackLoop, stop: StopRequest) -> None:
        super().__init__()
        self._loop, self._stop = loop, stop

    def _on_step(self) -> bool:
        status = self._loop.status
        # Not as figures of the report, to which the curve of the first training would go on.
        status.figures |= {"second_policy": True, "timesteps": self.num_timesteps}
        if status.report("training", immediately=self.n_calls == 1):
            with suppress(StoreLockedError):
                if OwnerRequests.of(self._loop.store.statuses()).stop:
                    self._stop.request()
        return True


def earned_by_reward(
    config: RunConfig, ensemble: RewardEnsemble, first: BaseAlgorithm, fresh: BaseAlgorithm
) -> tuple[float, float]:
    """What two policies earn in an episode by a reward model."""
    environment = config.required_environment
    by_first, by_fresh = (
        learned_return(ensemble, SB3Policy(model), environment, episodes=_EPISODES) for model in (first, fresh)
    )
    return by_first, by_fresh
