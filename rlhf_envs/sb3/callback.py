"""The feedback loop as a callback: `PPO(...).learn(callback=PreferenceCallback(...))` trains on preferences."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import nn

from rlhf_envs.demonstrations import Demonstrations
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.feedback import Annotator, PreferenceStore, TeacherConfig, make_annotator
from rlhf_envs.json_values import settings_from_json
from rlhf_envs.loop import FeedbackConfig, FeedbackLoop, LoopState, RoundReport, SideSource, about_clips, frame_rate
from rlhf_envs.loop.exploration import StateEntropy
from rlhf_envs.observations import Observations, Transitions, map_observations
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import EnsembleConfig, FitConfig, RewardEnsemble, load, save
from rlhf_envs.sb3.scoring import ScoringCallback
from rlhf_envs.sb3.side_rollouts import SideRollouts
from rlhf_envs.sb3.vec_env import PreferenceVecEnv

_REWARD_MODEL = "reward_model.safetensors"
_LINKED_STEPS = 1024
"""Steps of a round that the learned return is followed by over fits."""


class NothingAskedError(ValueError):
    """There is no reward model, because no question could be asked."""


class PreferenceCallback(ScoringCallback):
    """After every round: asks about it, reads answers, fits the reward, and pays the algorithm by it.

    On-policy algorithms (PPO, A2C, ...) are paid at the end of each rollout. The replay buffer of off-policy ones (SAC,
    TD3, DQN, ...) is paid anew after each fit; before the first one they act at random and learn nothing, unless
    `FeedbackConfig.explore_share` wants them to explore.

    Args:
        env: the environment that the algorithm trains on, from `make_vec_env`.
        store: where queries and answers meet: a `PreferenceStore`, or a path or URL at which to make one.
        feedback: how much is asked, when, and what.
        annotator: answers at once what was asked: anything that `rlhf_envs.feedback.make_annotator` takes, such as
            "oracle" or a function of two clips; None when people answer in processes of their own.
        ensemble: the reward model's settings, or a model to go on with, such as a loaded one: it pays from the
            beginning (`FeedbackConfig(answers=0)` asks nothing). Fits see only the answers in the store, and up to 400
            labels start from fresh parameters, unless pictures are observed: with a new store the first fit replaces
            the model. To learn on from earlier answers, put them into the store first (`rlhf-envs archive import`).
        seed: of the reward model and of the candidates that are drawn.
        on_round: called after each visit to the loop, with what it did.
        on_wait: called several times a second while training waits, with what it waits for, in words.
        fit: how the reward model is fitted; the defaults where None.
        demonstrations: what is preferred over the agent's segments, if `feedback.demonstration_comparisons` wants that.
        on_stage: called with what the loop begins to do between two rollouts, in words.

    Attributes:
        loop: the feedback loop; `loop.ensemble` is the reward model.
        tells_end: whether annotators are told how a training has ended; False where whoever trains tells them, as where
            more follows.

    Raises:
        ValueError: if the segments do not fit the episodes, the annotator does not answer all kinds that are asked, the
            spaces are not supported, the given model does not fit the environment (`RewardEnsemble.check_fits`), or a
            variant does not (`SideRollouts`).
    """

    def __init__(
        self,
        env: PreferenceVecEnv,
        store: PreferenceStore | str | os.PathLike[str],
        feedback: FeedbackConfig | None = None,
        annotator: Annotator | TeacherConfig | Callable[..., Any] | str | None = "oracle",
        ensemble: RewardEnsemble | EnsembleConfig | None = None,
        seed: int = 0,
        on_round: Callable[[RoundReport], None] | None = None,
        on_wait: Callable[[str], None] | None = None,
        fit: FitConfig | None = None,
        demonstrations: Demonstrations | None = None,
        on_stage: Callable[[str], None] | None = None,
    ) -> None:
        feedback = feedback or FeedbackConfig()
        super().__init__(env, feedback.visit_every)
        if env.ref is not None:
            feedback = feedback.for_environment(env.ref)
        feedback.check_fits(env.horizon, env.num_envs)
        annotator = None if annotator is None else make_annotator(annotator)
        feedback.check_annotator(annotator)
        if not isinstance(ensemble, RewardEnsemble):
            ensemble = RewardEnsemble(
                env.observation_space, env.action_space, ensemble or EnsembleConfig(), seed, absorbing=env.terminates
            )
        ensemble.check_fits(env.observation_space, env.action_space, env.terminates)
        if feedback.answers == 0 and ensemble.fits == 0:
            raise ValueError(
                "With answers=0 nothing is asked, so there has to be a reward model that was learned before."
            )
        if not isinstance(store, PreferenceStore):
            store = PreferenceStore.create(store, StoredEnvironment(env.ref, feedback.steps, feedback.rubric))
        self.on_round = on_round
        self.tells_end = True
        self.fit_seconds = self.wait_seconds = 0.0
        self._linked: tuple[Observations, NDArray[Any]] | None = None
        self._linked_at, self._linked_return = 0, 0.0
        self._stop_requested = False
        self.loop = FeedbackLoop(
            store,
            ensemble,
            feedback,
            env.horizon,
            seed,
            annotator,
            on_wait,
            fit,
            demonstrations,
            on_stage,
        )
        self._exploration = StateEntropy(self.loop.ensemble.encoder, seed) if feedback.explore_share else None
        self._variants: list[SideRollouts] = []
        for arguments in feedback.variant if feedback.answers else ():
            variant = SideRollouts(env, feedback.steps, seed, variant=arguments)
            self._variants.append(variant)
            share = feedback.variant_share / len(feedback.variant)
            self.loop.side_sources.append(SideSource(share, partial(self._play, variant), variant.shown))
        if env.ref is not None and frame_rate(env.ref) is None:
            self.loop.known_concerns = (about_clips(env.ref, feedback.steps),)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the reward model; how far the feedback loop has come."""
        save(self.loop.ensemble, folder / _REWARD_MODEL)
        if self._exploration is not None:
            self._exploration.save(folder)
        return {**super().save(folder), "loop": asdict(self.loop.state())}

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Take back what `save` wrote and returned."""
        super().restore(folder, state)
        loop = settings_from_json(LoopState, state["loop"], "state.json: loop")
        before = self.loop.ensemble
        self.loop.ensemble = load(folder / _REWARD_MODEL, objective=before.objective).to(before.device)
        self.loop.restore(loop)
        if self._exploration is not None:
            self._exploration.restore(folder)

    def save_result(self, path: Path) -> None:
        """Write the reward model.

        Raises:
            NothingAskedError: if nothing was asked, so that there is none.
        """
        if not self.loop.has_reward:
            steps = self.loop.config.steps
            hint = "; a shorter --segment-length may help" if steps > 1 else ""
            raise NothingAskedError(
                "Nothing was asked, so nothing was learned: no segment of "
                f"{steps} steps fitted into the episodes, or all looked the same{hint}."
            )
        save(self.loop.ensemble, path)

    def close(self) -> None:
        """Close the store and the variants of the environment."""
        self.loop.store.close()
        for variant in self._variants:
            variant.close()

    def steps_in_round(self) -> int:
        """Environment steps in a round; before anything was asked, so many that there is a choice."""
        steps = super().steps_in_round()
        if self.rewards is None or self.loop.progress.asked or self.loop.finished_asking:
            return steps
        return max(steps, self.rewards.first_steps)

    def _on_training_start(self) -> None:
        super()._on_training_start()
        self.env.remember(4 * self.loop.config.steps)
        self.loop.status.begin_at(self.num_timesteps)
        self._linked_at, self._linked_return = self.num_timesteps, self.loop.status.linked_return
        self._hold_or_release()

    def _on_step(self) -> bool:
        return not self._stop_requested

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        if not self.round_ended:
            return
        true_returns = self.env.true_returns
        self._link_returns()
        self.loop.status.report(
            "training",
            timesteps=self.num_timesteps,
            labels=len(self.loop.dataset),
            test_accuracy=self.loop.progress.test_accuracy,
            accuracy_from=str(self.loop.accuracy_from),
            learned_return=self.mean_return,
            linked_return=self._linked_return,
            true_return=float(np.mean(true_returns)) if true_returns else None,
        )

    def _link_returns(self) -> None:
        """Follow the learned return over fits, whose rewards have scales of their own: by what it rises within each.

        The round before is scored by the newest reward as well, and only the difference from that counts.
        """
        if not self.loop.has_reward:
            return
        steps = max((self.num_timesteps - self._linked_at) // self.env.num_envs, 1)
        observations, actions, _ = self.env.recorder.latest(min(steps, self.env.recorder.filled))
        every = max(len(actions) // _LINKED_STEPS, 1)
        latest = map_observations(lambda part: np.array(part[::every]), observations), np.array(actions[::every])
        if self._linked is not None:
            now, before = (float(self.loop.ensemble.reward(*part).mean()) for part in (latest, self._linked))
            self._linked_return += (now - before) * self.env.horizon
        self._linked, self._linked_at = latest, self.num_timesteps

    def _on_training_end(self) -> None:
        assert self.rewards is not None
        self.rewards.release()
        if self.tells_end:
            self.loop.status.report("stopped" if self._stop_requested else "finished", immediately=True)

    def before_scoring(self) -> bool:
        """Visit the feedback loop, so that the round is scored by the newest reward; whether there is a new one."""
        report = self.loop.visit(self.env.recorder, self.num_timesteps, self.model._total_timesteps)
        self.fit_seconds += report.fit_seconds
        self.wait_seconds += report.wait_seconds
        self.logger.record("feedback/labels", report.labels)
        if report.fit is not None:
            self.logger.record("feedback/held_out_loss", report.fit.held_out_loss)
            self.logger.record("feedback/held_out_accuracy", report.fit.held_out_accuracy)
        if self.loop.alarm.state.fresh_agreement is not None:
            self.logger.record("feedback/fresh_agreement", self.loop.alarm.state.fresh_agreement)
        if self.loop.alarm.state.measures:
            _, gain, disagreement, distance = self.loop.alarm.state.measures[-1]
            self.logger.record("alarm/gain", gain)
            self.logger.record("alarm/disagreement", disagreement)
            self.logger.record("alarm/distance", distance)
        self._stop_requested = report.stop_requested
        if self._exploration is not None and report.fit is not None and self.loop.ensemble.fits == 1:
            _forget_values(self.model)
        self._hold_or_release()
        if self.on_round is not None:
            self.on_round(report)
        return report.fit is not None

    def score(self, transitions: Transitions) -> NDArray[np.float32]:
        """The learned reward; as long as there is none, what exploration is worth, or 0."""
        if self._exploring:
            assert self._exploration is not None
            return self._exploration.pay(transitions)
        if not self.loop.has_reward:
            return np.zeros(len(transitions.actions), dtype=np.float32)
        return self.loop.ensemble.transition_reward(transitions)

    @property
    def _exploring(self) -> bool:
        """Whether the policy is paid for exploring."""
        total = getattr(self.model, "_total_timesteps", 0)
        return self._exploration is not None and self.loop.explores(self.num_timesteps, total)

    def _play(self, side: SideRollouts, round: int) -> SegmentRecorder:
        return side.play(self.model, round)

    def _hold_or_release(self) -> None:
        assert self.rewards is not None
        if self.loop.has_reward or self._exploring:
            self.rewards.release()
        else:
            self.rewards.hold()


def _forget_values(model: BaseAlgorithm) -> None:
    """Give an on-policy algorithm a fresh value head: what it expected was paid for exploring.

    PEBBLE resets the critic there as well (Lee et al. 2021, algorithm 2). That of an off-policy algorithm learns from
    the whole buffer, which is paid anew by the first reward.
    """
    head = getattr(model.policy, "value_net", None)
    if isinstance(head, nn.Linear):
        nn.init.orthogonal_(head.weight)
        nn.init.zeros_(head.bias)
