"""The feedback loop: select queries from recent rollouts, ask, read the answers, fit the reward."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from rlhf_envs.demonstrations import Demonstrations
from rlhf_envs.feedback.annotators import Annotator
from rlhf_envs.feedback.annotators.demonstrator import Demonstrator
from rlhf_envs.feedback.store import PreferenceStore, StoreLockedError
from rlhf_envs.feedback.store.status import OwnerRequests
from rlhf_envs.kinds import Comparison, FeedbackKind
from rlhf_envs.loop.alarm import HackingAlarm
from rlhf_envs.loop.choosing import QueryChooser, SideSource
from rlhf_envs.loop.clip_length import about_answers
from rlhf_envs.loop.config import FeedbackConfig, due
from rlhf_envs.loop.state import LoopState, RoundReport
from rlhf_envs.loop.status import StatusReporter, withdraw_stop
from rlhf_envs.queries import AccuracySource, Purpose, Query
from rlhf_envs.recording import SegmentRecorder
from rlhf_envs.rewards import (
    FitConfig,
    FitReport,
    InputEncoder,
    PreferenceDataset,
    RewardEnsemble,
    fit_with_reliability,
    predict_answers,
    predict_out_of_fold,
)
from rlhf_envs.rewards import fit as fit_reward
from rlhf_envs.rewards.encoding import Encoded
from rlhf_envs.rewards.metrics import Predictions
from rlhf_envs.segments import Segment
from rlhf_envs.terminal import counted

_Result = TypeVar("_Result")

Pair = tuple[Segment, Segment, Mapping[str, Any]]
"""The segments of a comparison in screen order, and the context of its query."""

FEWEST_TESTED = 10
"""Of fewer predicted answers none says whether the target accuracy is reached."""

UNLABELLED_SEGMENTS = 256
"""Recent segments that a fit is given beside the labelled ones, where it makes use of them."""

_POLL_SECONDS = 0.2


class FeedbackLoop:
    """Asks about recent rollouts and keeps a reward model fitted to the answers.

    Args:
        store: where queries and answers meet.
        ensemble: the reward model.
        config: what to ask when.
        horizon: steps in an episode, for the thresholds of scripted teachers.
        seed: of the candidates that are drawn.
        annotator: answers at once what was asked, or None when people answer in processes of their own.
        on_wait: told in words, some times a second, what the loop waits for while it does.
        fit: how the reward model is fitted; the defaults where None.
        demonstrations: what is preferred over the agent's segments, if the configuration wants that.
        on_stage: told in words what the loop begins to do.

    Attributes:
        progress: how far it has come, as of its last visit: queries asked, labels, test accuracy and so on.
        status: posts the same for everybody who uses the store.
        alarm: watches for reward hacking.
        stopped_by_alarm: whether training is to end because of it (`FeedbackConfig.on_alarm`).
        known_concerns: those of `concerns` that were there before anything was asked.
        side_sources: further rollouts to ask about; none unless some are added.
        reserved: answers beyond those of the configuration that are kept for `compare`.

    Raises:
        ValueError: if the annotator does not answer all kinds that are asked; or if demonstrations are wanted and
            missing, or shorter than a segment.
    """

    def __init__(
        self,
        store: PreferenceStore,
        ensemble: RewardEnsemble,
        config: FeedbackConfig,
        horizon: int,
        seed: int = 0,
        annotator: Annotator | None = None,
        on_wait: Callable[[str], None] | None = None,
        fit: FitConfig | None = None,
        demonstrations: Demonstrations | None = None,
        on_stage: Callable[[str], None] | None = None,
    ) -> None:
        config.check_annotator(annotator)
        self.on_stage = on_stage or (lambda stage: None)
        store.claim_for_training()
        self.store = store
        self.ensemble = ensemble
        self.config = config
        self.horizon = horizon
        self.annotator = annotator
        self.on_wait = on_wait
        self.fit = fit or FitConfig()
        kinds = config.resolved_kinds()
        self._answers = AnswerReader(store, ensemble.encoder, kinds)
        self.progress = LoopState()
        self.status = StatusReporter(store)
        self._chooser = QueryChooser(config, kinds, horizon, seed)
        self._demonstrator: Demonstrator | None = None
        if config.demonstration_comparisons:
            if demonstrations is None:
                raise ValueError("Comparisons with demonstrations are wanted, but there are no demonstrations.")
            self._demonstrator = Demonstrator(demonstrations, config.steps)
        self.known_concerns: tuple[str, ...] = ()
        self.side_sources: list[SideSource] = []
        self.reserved = 0
        self._concern: str | None = None
        self._served = False
        self.alarm = HackingAlarm(config.steps, seed)
        self.stopped_by_alarm = False
        self._known_before = 0
        self._held_out_before = store.counts()[Purpose.TEST].asked > 0
        self._requests = OwnerRequests()
        withdraw_stop(store)

    @property
    def dataset(self) -> PreferenceDataset:
        """What the reward is learned from."""
        return self._answers.dataset

    @property
    def has_reward(self) -> bool:
        """Whether a reward has been learned, here or before."""
        return self.ensemble.fits > 0

    @property
    def concerns(self) -> tuple[str, ...]:
        """What people should know of that keeps the run from learning, a sentence each."""
        return (*self.known_concerns, *([self._concern] if self._concern else []))

    @property
    def budget(self) -> int:
        """Answers to ask for in all: what the configuration says, and what the owner of the run requested besides."""
        return self.config.answers + self._requests.extra_answers

    @property
    def last_round(self) -> int:
        """The round that was asked last, whose answers a training that goes on reads at once."""
        return max(self.progress.round - 1, self.progress.first_round)

    @property
    def left(self) -> int:
        """Answers that were not asked for yet, those included that are kept for `compare`."""
        return max(self.budget + self.reserved - max(self.progress.spent, self._answers_spent()), 0)

    def explores(self, timesteps: int, total_timesteps: int) -> bool:
        """Whether it is too early for the first question: the policy is to explore, and there is no reward yet."""
        early = timesteps < self.config.explore_share * total_timesteps
        return early and not self.has_reward and not self.progress.asked

    @property
    def finished_asking(self) -> bool:
        """Whether no more queries will be asked: the budget is spent, or the target accuracy reached."""
        config, reached = self.config, self.progress.test_accuracy
        at_target = (
            config.target_accuracy is not None
            and reached is not None
            and reached >= config.target_accuracy
            and self.progress.tested >= FEWEST_TESTED
            and not self.alarm.state.asking
        )
        return (at_target and not self._requests.extra_answers) or self.progress.spent + config.overlap > self.budget

    def stop_asking(self) -> None:
        """Ask nothing in the whole run, which has not begun: read and fit what its store holds."""
        counts = self.store.counts()
        self.progress = LoopState(
            round=1 + max((query.round for query in self.store.queries()), default=0),
            asked=counts[Purpose.TRAIN].asked,
            held_out=counts[Purpose.TEST].asked,
            spent=sys.maxsize,
        )

    def ask_on(self) -> None:
        """Ask in further rounds than those in the store, in a run that has not begun: its budget is for these alone.

        What the store holds is learned from as well, and its segments may be asked about again.
        """
        queries = self.store.queries()
        begins = 1 + max((query.round for query in queries), default=-1)
        self.progress = LoopState(
            round=begins,
            first_round=begins,
            checked_before=_beside_questions(self.store),
        )
        self._known_before = max((answer.id for answer in self.store.live_answers()), default=0)
        self._chooser.remember([query for query in queries if query.only_for is None])

    def compare(
        self,
        pairs: Sequence[Pair],
        name: str,
        recorder: SegmentRecorder,
        give_up: Callable[[], bool] = lambda: False,
    ) -> float:
        """Ask which of two segments is better, of pairs that no rule has chosen, and learn from all new answers.

        It is for the end of a training. The same call again, as after a crash, asks nothing twice.

        Args:
            pairs: the segments in screen order, and the context of their query.
            name: how the keys of these queries begin.
            recorder: the last rollouts, as `visit` takes them; empty where a resumed run has lost them.
            give_up: whether to wait for people no longer; asked several times a second. What it raises ends the wait.

        Returns:
            For how many seconds people were waited for.

        Raises:
            ValueError: as the annotator, if that is code.
        """
        progress, config = self.progress, self.config
        queries = [
            Query(f"{name}/{number}", self.last_round, (left, right), Comparison.name, Purpose.TRAIN, context)
            for number, (left, right, context) in enumerate(pairs)
        ]
        self._once_free(partial(self.store.ask, queries, config.overlap))
        progress.spent = max(progress.spent, self._answers_spent()) + config.overlap * len(queries)
        progress.asked += len(queries)
        waited = 0.0
        if self.annotator is not None:
            self._once_free(partial(self.annotator.serve, self.store))
        elif queries:
            waited = self._wait_for_all(give_up)
        self._learn(recorder, progress.round)
        self.state()
        return waited

    def visit(self, recorder: SegmentRecorder, timesteps: int, total_timesteps: int) -> RoundReport:
        """Do what is due after a rollout: ask, wait, read, fit.

        Args:
            recorder: the recent rollouts.
            timesteps: environment steps so far.
            total_timesteps: environment steps of the whole training.
        """
        self.status.figures |= {
            "timesteps": timesteps,
            "total_timesteps": total_timesteps,
            "labels": len(self.dataset),
            "answers": self.budget + self.reserved,
            "overlap": self.config.overlap,
        }
        began = time.perf_counter()
        self._wait_while_paused()
        unpaused = time.perf_counter()
        asked = self._ask_what_is_due(recorder, timesteps, total_timesteps)
        asked_at = time.perf_counter()
        if self.annotator is not None:
            # After a crash there may be queries that were asked and not answered, so the first visit always serves.
            if asked or not self._served:
                self.on_stage("getting answers")
                self._once_free(partial(self.annotator.serve, self.store))
                self._served = True
        else:
            self._wait_for_answers()
        answered = time.perf_counter()
        report = self._learn(recorder, self.progress.round if asked else self.progress.round - 1)
        alarm = self._watch(recorder, timesteps, total_timesteps)
        ended = time.perf_counter()
        if asked:
            self.progress.round += 1
        self.state()
        return RoundReport(
            sum(query.purpose is Purpose.TRAIN for query in asked),
            len(self.dataset),
            report,
            self.progress.test_accuracy,
            ended - answered,
            self._requests.stop or self.stopped_by_alarm,
            self.concerns,
            self.accuracy_from,
            alarm,
            self.progress.tested,
            unpaused - began + answered - asked_at,
        )

    def _learn(self, recorder: SegmentRecorder, up_to_round: int) -> FitReport | None:
        """Read new answers, but none to later rounds, and fit the reward to them; None where there are none."""
        known = max(self._answers.cursor, self._known_before)
        if not self._answers.read(up_to_round):
            return None
        self.on_stage("fitting the reward")
        self._predict_fresh(known)
        report = self._fit(recorder)
        if recorder.filled:
            self.ensemble.normalise(recorder.latest_transitions())
        self._test()
        return report

    def _predict_fresh(self, known: int) -> None:
        """Find out what the reward model says to new answers before it is fitted to them."""
        if self.has_reward:
            fresh = [learned.answer for learned in self.dataset.answers if learned.answer.id > known]
            asked = [answer for answer in fresh if answer.was_asked]
            self.alarm.note_fresh(predict_answers(self.ensemble, asked, self.store))

    def _watch(self, recorder: SegmentRecorder, timesteps: int, total_timesteps: int) -> str | None:
        """Look for reward hacking, and do what the configuration wants at an alarm; why there is one."""
        if not self.alarm.due(timesteps, total_timesteps):
            return None
        drift = self.alarm.measure(self.ensemble, self.dataset, recorder, timesteps)
        if drift is None:
            return None
        progress = self.progress
        sentence = self.alarm.observe(
            drift,
            total_timesteps,
            not self.finished_asking,
            progress.test_accuracy,
            progress.tested,
            self.accuracy_from,
        )
        if sentence is not None:
            sentence += self._act_on_alarm()
            self.alarm.state.raised[-1]["reason"] = sentence
        self.status.figures["alarms"] = [alarm["reason"] for alarm in self.alarm.state.raised]
        return sentence

    def _act_on_alarm(self) -> str:
        """Do what is wanted at an alarm; what that is, as a sentence to add."""
        if self.config.on_alarm == "stop":
            self.stopped_by_alarm = True
            return " Training ends here (--on-alarm stop)."
        if self.config.on_alarm == "ask" and not self.budget:
            return " Nobody is asked in this run; more answers about it would help, or --on-alarm stop."
        if self.config.on_alarm == "ask":
            self.alarm.state.asking = True
            if self.finished_asking:
                return (
                    f" Nothing is left of the {counted(self.budget, 'answer')} to ask about it (--on-alarm ask); if "
                    "the owner of the run asks for more, they will be about it."
                )
            return " The segments that caused it are asked about next (--on-alarm ask)."
        return " More answers about it help, which --on-alarm ask asks for, and so does to stop here."

    def _fit(self, recorder: SegmentRecorder) -> FitReport:
        unlabelled = self._unlabelled(recorder) if self.fit.uses_unlabelled else None
        if self.config.reliability:
            return fit_with_reliability(self.ensemble, self.dataset, self.fit, rounds=1, unlabelled=unlabelled)
        return fit_reward(self.ensemble, self.dataset, self.fit, unlabelled=unlabelled)

    def _unlabelled(self, recorder: SegmentRecorder) -> Encoded | None:
        """Recent segments, encoded, (segments, T, ...); None where no segment fits.

        They follow from the rollouts, the ensemble's seed and the fits so far, and leave the loop's generator alone.
        """
        rng = np.random.default_rng([self.ensemble.seed % 2**64, self.ensemble.fits])
        length = self.dataset.segment_length or self.config.steps
        windows = recorder.sample_windows(UNLABELLED_SEGMENTS, length, rng)
        if not len(windows):
            return None
        steps = self.ensemble.encoder.encode(*recorder.gather_steps(windows))
        return steps.unflatten(len(windows), length)

    @property
    def accuracy_from(self) -> AccuracySource:
        """Which answers the reward model is judged by: those that were held out, where any were asked to be."""
        held_out = self.progress.held_out or self.config.held_out_queries or self._held_out_before
        return AccuracySource.HELD_OUT if held_out else AccuracySource.OUT_OF_FOLD

    def predictions(self, as_of: int | None = None) -> Predictions:
        """What the reward model says to answers, none of which it knows from training on them; see `accuracy_from`.

        Args:
            as_of: how far the store is read for held-out answers; None for all.
        """
        if self.accuracy_from is AccuracySource.OUT_OF_FOLD:
            return predict_out_of_fold(self.ensemble, self.dataset)
        return predict_answers(self.ensemble, self.store.each_live_answer(Purpose.TEST, as_of=as_of), self.store)

    def _test(self) -> None:
        """Find out which answers the reward model predicts, and whether the clips show enough."""
        cursor = self._answers.cursor
        metrics = self.predictions(as_of=cursor).metrics
        self.progress.test_accuracy = metrics.accuracy if metrics.decided else None
        self.progress.tested = metrics.decided
        said = [
            live.choice
            for live in self.store.each_live_answer(as_of=cursor)
            if live.purpose in (Purpose.TRAIN, Purpose.TEST)
        ]
        self._concern = about_answers(said, metrics, self.accuracy_from, self.config.steps)
        self.status.figures |= {
            "concerns": list(self.concerns),
            "accuracy_from": str(self.accuracy_from),
            "tested": metrics.decided,
        }

    def state(self) -> LoopState:
        """Where the loop stands; `restore` takes it back."""
        self.progress.labels = len(self.dataset)
        self.progress.cursor = self._answers.cursor
        self.progress.generator = dict(self._chooser.rng.bit_generator.state)
        self.progress.alarm = self.alarm.state
        return self.progress

    def restore(self, state: LoopState) -> None:
        """Go on where `state` says, with the labels that the store had by then.

        Raises:
            ValueError: if the store has lost some of them.
        """
        self.progress = state
        self._chooser.rng.bit_generator.state = state.generator
        self.alarm.state = state.alarm
        self._answers.read_again(state.cursor)
        if len(self.dataset) != state.labels:
            raise ValueError(
                f"The feedback store holds {len(self.dataset)} of the {state.labels} answers that this run has learned "
                "from; put the store back that it had."
            )
        self._chooser.forget()
        for round in range(state.round):
            # A round at a time, as their segments may be large.
            self._chooser.remember([query for query in self.store.queries(round=round) if query.only_for is None])
        if self.dataset:
            accuracy, tested = state.test_accuracy, state.tested
            self._test()
            # That of the last fit stays, as in an undisturbed run: held-out answers may have come in after it.
            self.progress.test_accuracy, self.progress.tested = accuracy, tested

    def _ask_what_is_due(self, recorder: SegmentRecorder, timesteps: int, total_timesteps: int) -> list[Query]:
        """Ask the queries of a round, if one is due; none otherwise."""
        config, progress = self.config, self.progress
        if progress.spent < self.budget:
            progress.spent = max(progress.spent, self._answers_spent())
        if self.finished_asking:
            return []
        first = progress.asked == 0
        if self.explores(timesteps, total_timesteps):
            return []
        at = 0 if first else timesteps
        due_by_now = self._requests.extra_answers + due(
            config.schedule, at, total_timesteps, config.answers, config.initial_share, config.ask_until
        )
        count = (due_by_now - progress.spent) // config.overlap
        if first:
            # Whatever the schedule says: before any answer there is nothing to train the policy on.
            count = max(count, 1)
        elif self.alarm.state.asking:
            count = min(max(count, config.round_size), (self.budget - progress.spent) // config.overlap)
        elif count <= 0 or (count < config.round_size and due_by_now < self.budget):
            return []
        held_out = min(max(config.held_out(progress.asked + progress.held_out + count) - progress.held_out, 0), count)
        wanted = config.kind_counts(progress.asked, count - held_out)
        self.on_stage("choosing queries")
        prefer, side = None, self.side_sources
        if self.alarm.state.asking:
            prefer, side = partial(self.alarm.suspicion, self.ensemble, self.dataset, recorder), []
            self.alarm.start_again()
        queries = self._chooser.choose(recorder, self.ensemble, progress.round, wanted, held_out, side, prefer)
        # A run that was killed after it had asked this round, and cannot repeat its rollouts exactly, would choose
        # other segments now; people have been shown the first ones.
        asked_before = [
            query
            for query in self.store.queries(round=progress.round)
            # Checks and imported queries of the round have other keys.
            if query.key.startswith(f"{progress.round}/") and query.only_for is None
        ]
        if asked_before:
            queries = asked_before
        else:
            self._once_free(partial(self.store.ask, queries, config.overlap))
        self._chooser.remember(queries)
        asked = sum(query.purpose is Purpose.TRAIN for query in queries)
        progress.asked += asked
        progress.held_out += len(queries) - asked
        progress.spent += config.overlap * len(queries)
        if self._demonstrator is not None:
            agent = [segment for query in queries for segment in query.segments]
            shown = min(progress.asked + progress.held_out, config.queries)
            count = config.demonstration_comparisons * shown // config.queries - progress.demonstrated
            progress.demonstrated += self._once_free(
                partial(self._demonstrator.prefer, self.store, progress.round, agent, count, self._chooser.rng)
            )
        return queries

    def _answers_spent(self) -> int:
        """What people have answered or been asked for: by this run, as checks and practice, and as corrections."""
        own = self.config.overlap * (self.progress.asked + self.progress.held_out)
        return own + _beside_questions(self.store) - self.progress.checked_before

    def _wait_while_paused(self) -> None:
        self._requests = OwnerRequests.of(self.store.statuses())
        while self._requests.paused and not self._requests.stop:
            self.status.report("paused")
            self._pause("the owner of the run, who has paused it")

    def _wait_for_answers(self) -> None:
        """Wait until as few queries are open as the configuration wants, and until there is something to learn from."""
        most_open = 0 if self.config.wait_for_answers else self.config.most_open
        while not self._requests.stop:
            counts = self.store.counts()[Purpose.TRAIN]
            missing = counts.open - most_open
            if missing <= 0 and (counts.answered or self.dataset or not counts.open):
                return
            missing = max(missing, 1)
            self.status.report("waiting", missing)
            queries = counted(counts.open, "query", "queries")
            self._pause(f"{counted(missing, 'answer')}, with {queries} open in the store")

    def _wait_for_all(self, give_up: Callable[[], bool]) -> float:
        """Wait until nothing is open, or it is not worth waiting for; for how many seconds."""
        began = time.perf_counter()
        while (missing := self.store.counts()[Purpose.TRAIN].open) and not give_up():
            self.status.report("waiting", missing)
            time.sleep(_POLL_SECONDS)
        return time.perf_counter() - began

    def _pause(self, awaited: str) -> None:
        if self.on_wait is not None:
            self.on_wait(awaited)
        time.sleep(_POLL_SECONDS)
        self._requests = OwnerRequests.of(self.store.statuses())

    def _once_free(self, work: Callable[[], _Result]) -> _Result:
        """Write to the store; where another process has locked it, training waits and says so through `on_wait`."""
        while True:
            try:
                return work()
            except StoreLockedError:
                if self.on_wait is None:
                    raise
                self.on_wait("the feedback store, which another process has locked")


def _beside_questions(store: PreferenceStore) -> int:
    """Answers that a store wants in addition to those to a run's own questions: to checks and practice, corrections."""
    counts = store.counts()
    return counts[Purpose.CHECK].asked + counts[Purpose.PRACTICE].asked + counts[Purpose.TRAIN].corrections


class AnswerReader:
    """Keeps a dataset in step with the answers in a store that stand.

    Args:
        store: where the answers come in.
        encoder: of what learns from them.
        kinds: the kinds of feedback by name.

    Attributes:
        dataset: what there is to learn from, of what was read.
        cursor: how far the store was read.
    """

    def __init__(self, store: PreferenceStore, encoder: InputEncoder, kinds: Mapping[str, FeedbackKind]) -> None:
        self._store = store
        self._encoder, self._kinds = encoder, kinds
        self.dataset = PreferenceDataset(encoder, kinds)
        self.cursor = 0

    def read(self, up_to_round: int) -> bool:
        """Read on, but no answers to rounds after this one; whether there is anything new to learn from.

        A resumed run may find answers to rounds that it has not come to again; reading those now would fit the reward
        earlier than the undisturbed run did.
        """
        answers, self.cursor = self._store.read_since(self.cursor, up_to_round=up_to_round)
        if not answers:
            return False
        before = len(self.dataset)
        if any(answer.undoes is not None for answer in answers):
            self.read_again(self.cursor)
            return len(self.dataset) > 0
        self._add(since=answers[0].id)
        return len(self.dataset) > before

    def read_again(self, cursor: int) -> None:
        """Read everything up to this cursor anew."""
        self.cursor = cursor
        self.dataset = PreferenceDataset(self._encoder, self._kinds)
        self._add(since=0)

    def _add(self, since: int) -> None:
        answers = self._store.each_live_answer(Purpose.TRAIN, as_of=self.cursor, after=since - 1)
        self.dataset.add_answers(answers, self._store)
