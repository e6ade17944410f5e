"""The feedback loop: select queries from recent rollouts, ask, read the answers, fit the reward.

It knows nothing of the algorithm that trains the policy; `rlhf_envs.sb3` calls it after every rollout.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlhf_envs.feedback import schedule
from rlhf_envs.feedback.queries import Choice, LiveAnswer, Purpose, Query
from rlhf_envs.feedback.selection import SELECTIONS, Candidates, describe_segments, pair_features, pair_up
from rlhf_envs.feedback.store import PreferenceStore
from rlhf_envs.feedback.teacher import ScriptedTeacher
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import FitReport, PreferenceDataset, RewardEnsemble, fit

_POLL_SECONDS = 0.2
_FEWEST_CANDIDATES = 64


@dataclass(frozen=True)
class FeedbackConfig:
    """How many comparisons are asked, when, and which.

    Attributes:
        comparisons: the label budget: comparisons that train the reward model.
        test_comparisons: further ones, held out to test it; a fifth of `comparisons` where None.
        segment_length: steps in a segment.
        selection: which pairs are asked, a name in `SELECTIONS`.
        candidate_factor: how many times more pairs are considered than asked.
        batch: how many comparisons are asked at a time after the first ones; a tenth of `comparisons` where None.
        schedule: how the rate falls, a name in `SCHEDULES`.
        initial_share: the part of the budget that is asked after the first rollout.
        finish_by: the part of training by which the whole budget has been asked.
        wait: whether training waits for the answers to what it asked, or goes on with the reward that it has.
        target_accuracy: ask no more once the reward model predicts this share of the held-out answers rightly.
    """

    comparisons: int = 200
    test_comparisons: int | None = None
    segment_length: int = 25
    selection: str = "diverse"
    candidate_factor: int = 10
    batch: int | None = None
    schedule: str = "hyperbolic"
    initial_share: float = 0.25
    finish_by: float = 0.7
    wait: bool = True
    target_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.comparisons < 1:
            raise ValueError(f"At least 1 comparison is needed to learn a reward, not {self.comparisons}.")
        if self.test_comparisons is not None and self.test_comparisons < 0:
            raise ValueError(f"test_comparisons must be 0 or more, not {self.test_comparisons}.")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"A batch must have at least 1 comparison, not {self.batch}.")
        if self.segment_length < 1 or self.candidate_factor < 1:
            raise ValueError(
                "segment_length and candidate_factor must be at least 1, not "
                f"{self.segment_length} and {self.candidate_factor}."
            )
        if self.selection not in SELECTIONS:
            raise ValueError(f"selection must be one of {', '.join(SELECTIONS)}, not {self.selection!r}.")
        if self.target_accuracy is not None and not 0.5 < self.target_accuracy <= 1:
            raise ValueError(f"target_accuracy is a share above 0.5 and at most 1, not {self.target_accuracy}.")
        if self.target_accuracy is not None and self.test_budget == 0:
            raise ValueError("target_accuracy needs held-out answers; set test_comparisons to 1 or more.")
        schedule.due(self.schedule, 0, 1, self.comparisons, self.initial_share, self.finish_by)

    @property
    def test_budget(self) -> int:
        """Comparisons that are held out."""
        return self.comparisons // 5 if self.test_comparisons is None else self.test_comparisons

    @property
    def batch_size(self) -> int:
        """Comparisons that are asked at a time."""
        return max(self.comparisons // 10, 1) if self.batch is None else self.batch

    def check_fits(self, horizon: int, copies: int) -> None:
        """Refuse segments that no episode can hold, and a budget that no pool of rollouts can.

        Raises:
            ValueError: if a segment is longer than an episode, or there is a single step of a single copy.
        """
        if self.segment_length > horizon:
            raise ValueError(
                f"Segments of {self.segment_length} steps do not fit into episodes of {horizon}; "
                f"set segment_length to {horizon} or less."
            )
        if copies == 1 and 2 * self.segment_length > horizon:
            raise ValueError(
                f"One copy with episodes of {horizon} steps cannot give two segments of {self.segment_length} to "
                "compare; use more copies or shorter segments."
            )


@dataclass
class LoopState:
    """How far a loop has come; what a checkpoint keeps beside the reward model. JSON values only."""

    round: int = 0
    asked: int = 0
    asked_test: int = 0
    cursor: int = 0
    labels: int = 0
    test_accuracy: float | None = None
    generator: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundReport:
    """What one visit to the loop did.

    Attributes:
        asked: comparisons that were asked.
        labels: that the reward model knows by now.
        fit: how fitting went, or None where there was nothing new to learn.
        test_accuracy: share of decisive held-out answers that the model predicts, or None before there are any.
        select_seconds, wait_seconds, fit_seconds: what choosing and asking, getting answers, and fitting took.
    """

    asked: int
    labels: int
    fit: FitReport | None
    test_accuracy: float | None
    select_seconds: float
    wait_seconds: float
    fit_seconds: float


class FeedbackLoop:
    """Asks about recent rollouts and keeps a reward model fitted to the answers.

    Args:
        store: where queries and answers meet.
        ensemble: the reward model.
        config: what to ask when.
        horizon: steps in an episode, for the thresholds of scripted teachers.
        seed: of the candidates that are drawn.
        teacher: an annotator that answers at once, or None when people answer elsewhere.
        on_wait: told how many answers are still missing while the loop waits for them.
    """

    def __init__(
        self,
        store: PreferenceStore,
        ensemble: RewardEnsemble,
        config: FeedbackConfig,
        horizon: int,
        seed: int = 0,
        teacher: ScriptedTeacher | None = None,
        on_wait: Callable[[int], None] | None = None,
    ) -> None:
        self.store = store
        self.ensemble = ensemble
        self.config = config
        self.horizon = horizon
        self.teacher = teacher
        self.on_wait = on_wait
        self.dataset = PreferenceDataset(ensemble.encoder)
        self.progress = LoopState()
        self._rng = np.random.default_rng(seed)

    @property
    def has_labels(self) -> bool:
        """Whether there is anything that a reward could be learned from."""
        return len(self.dataset) > 0

    @property
    def finished_asking(self) -> bool:
        """Whether no more comparisons will be asked: the budget is spent, or the target accuracy reached."""
        config, reached = self.config, self.progress.test_accuracy
        at_target = config.target_accuracy is not None and reached is not None and reached >= config.target_accuracy
        return at_target or self.progress.asked >= config.comparisons

    def visit(self, recorder: SegmentRecorder, timesteps: int, total_timesteps: int) -> RoundReport:
        """Do what is due after a rollout: ask, read, fit.

        Args:
            recorder: the recent rollouts.
            timesteps: environment steps so far.
            total_timesteps: environment steps of the whole training.
        """
        started = time.perf_counter()
        asked = self._ask_what_is_due(recorder, timesteps, total_timesteps)
        selected = time.perf_counter()
        if self.teacher is not None:
            self.teacher.serve(self.store)
        elif self.config.wait:
            self._wait_for_answers()
        answered = time.perf_counter()
        report = None
        if self._read_answers(self.progress.round if asked else self.progress.round - 1):
            observations, actions, _ = recorder.latest()
            report = fit(self.ensemble, self.dataset)
            self.ensemble.normalise(observations, actions)
            self.progress.test_accuracy = self._test_accuracy()
        ended = time.perf_counter()
        if asked:
            self.progress.round += 1
        return RoundReport(
            asked,
            len(self.dataset),
            report,
            self.progress.test_accuracy,
            selected - started,
            answered - selected,
            ended - answered,
        )

    def state(self) -> LoopState:
        """Where the loop stands; `restore` takes it back."""
        self.progress.labels = len(self.dataset)
        self.progress.generator = dict(self._rng.bit_generator.state)
        return self.progress

    def restore(self, state: LoopState) -> None:
        """Go on where `state` says, with the labels that the store had by then."""
        self.progress = state
        self._rng.bit_generator.state = state.generator
        self._rebuild_dataset()

    def _ask_what_is_due(self, recorder: SegmentRecorder, timesteps: int, total_timesteps: int) -> int:
        config, progress = self.config, self.progress
        if self.finished_asking:
            return 0
        at = 0 if progress.asked == 0 else timesteps
        due = schedule.due(
            config.schedule, at, total_timesteps, config.comparisons, config.initial_share, config.finish_by
        )
        count = due - progress.asked
        if count <= 0 or (count < config.batch_size and due < config.comparisons):
            return 0
        count_test = config.test_budget * due // config.comparisons - progress.asked_test
        queries = self._select(recorder, count, Purpose.TRAIN, config.selection)
        if not queries:
            return 0
        queries += self._select(recorder, count_test, Purpose.TEST, "uniform")
        self.store.ask(queries)
        asked = sum(query.purpose is Purpose.TRAIN for query in queries)
        progress.asked += asked
        progress.asked_test += len(queries) - asked
        return asked

    def _select(self, recorder: SegmentRecorder, count: int, purpose: Purpose, rule: str) -> list[Query]:
        if count <= 0:
            return []
        if self.dataset.segment_length is None and rule != "diverse":
            rule = "uniform"
        pool = 2 * max(self.config.candidate_factor * count, _FEWEST_CANDIDATES)
        windows = recorder.sample_windows(pool, self.config.segment_length, self._rng)
        if len(windows) < 2:
            return []
        observations, actions, true_rewards = recorder.gather(windows)
        described = describe_segments(observations, actions)
        left, right = pair_up(windows, described)
        returns = self.ensemble.segment_returns(observations, actions)
        with np.errstate(over="ignore"):
            preferences = 1 / (1 + np.exp(returns[:, left] - returns[:, right]))
        candidates = Candidates(left, right, preferences, pair_features(described, left, right))
        chosen = SELECTIONS[rule](candidates, count, self._rng)
        context = {"average_return": float(true_rewards.mean()) * self.horizon, "horizon": self.horizon}
        return [
            Query(
                key=f"{self.progress.round}/{purpose}/{number}",
                round=self.progress.round,
                segments=(recorder.segment(windows, int(left[pair])), recorder.segment(windows, int(right[pair]))),
                purpose=purpose,
                context=context,
            )
            for number, pair in enumerate(chosen)
        ]

    def _wait_for_answers(self) -> None:
        while missing := self.store.counts()[Purpose.TRAIN].open:
            if self.on_wait is not None:
                self.on_wait(missing)
            time.sleep(_POLL_SECONDS)

    def _read_answers(self, up_to_round: int) -> bool:
        # A resumed run may find answers to rounds that it has not come to again; reading those now would fit the
        # reward earlier than the undisturbed run did.
        answers, self.progress.cursor = self.store.read_since(self.progress.cursor, up_to_round=up_to_round)
        if not answers:
            return False
        before = len(self.dataset)
        if any(answer.undoes is not None for answer in answers):
            self._rebuild_dataset()
            return self.has_labels
        for live in self.store.live_answers(Purpose.TRAIN, as_of=self.progress.cursor):
            if live.answer_id >= answers[0].id:
                self._add(live)
        return len(self.dataset) > before

    def _rebuild_dataset(self) -> None:
        self.dataset = PreferenceDataset(self.ensemble.encoder)
        for live in self.store.live_answers(Purpose.TRAIN, as_of=self.progress.cursor):
            self._add(live)

    def _add(self, live: LiveAnswer) -> None:
        if live.choice is not None and live.choice.probability_right is not None:
            left, right = (self.store.segment(id) for id in live.segment_ids)
            self.dataset.add(left, right, live.choice.probability_right)

    def _test_accuracy(self) -> float | None:
        answered = [
            live
            for live in self.store.live_answers(Purpose.TEST, as_of=self.progress.cursor)
            if live.choice in (Choice.LEFT, Choice.RIGHT)
        ]
        if not answered:
            return None
        pairs = [[self.store.segment(id) for id in live.segment_ids] for live in answered]
        left, right = ([pair[side] for pair in pairs] for side in (0, 1))
        said_right = np.array([live.choice is Choice.RIGHT for live in answered])
        return float(((self.ensemble.probability_right(left, right) > 0.5) == said_right).mean())
