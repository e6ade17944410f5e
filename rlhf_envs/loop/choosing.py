"""Which segments of the recent rollouts are asked about, and in which queries."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.kinds import Comparison, FeedbackKind
from rlhf_envs.loop.candidates import make_candidates, without_near_ties
from rlhf_envs.loop.config import FeedbackConfig
from rlhf_envs.loop.selection import SELECTION_RULES, SelectionRule, choose, rule_name, select_uniform
from rlhf_envs.observations import Observations, concatenate_observations, map_observations
from rlhf_envs.queries import Purpose, Query
from rlhf_envs.recording import SegmentRecorder, Windows
from rlhf_envs.rewards import RewardEnsemble
from rlhf_envs.segments import Segment

Preference = Callable[[Windows], NDArray[np.float64]]
"""From M windows of the recent rollouts to how much they are to be asked about, (M,)."""

_FEWEST_CANDIDATES = 64
_DRAWN_PER_PREFERRED = 4
_SPARE_TEST_PAIRS = 2
_FEWEST_AT_ONCE, _MOST_AT_ONCE, _BYTES_AT_ONCE = 64, 1024, 2**25
_REMEMBERED_BYTES = 256 * 2**20
_ROUND_CONTEXT = ("average_return", "horizon")

_logger = logging.getLogger(__name__)


def _as_it_is(segment: Segment) -> Segment:
    return segment


@dataclass(frozen=True)
class SideSource:
    """Further rollouts that a part of the candidates is cut out of, such as of a variant of the environment.

    Attributes:
        share: the part, from 0 to 1, of the segments that were not asked about before.
        play: called with the number of a round that is due, if there is anything to train on; the rollouts.
        shown: makes of a chosen segment what is stored and shown; for segments that the run's environment would draw
            otherwise.

    Raises:
        ValueError: if the share is out of range.
    """

    share: float
    play: Callable[[int], SegmentRecorder]
    shown: Callable[[Segment], Segment] = _as_it_is

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"The share of a source of candidates is from 0 to 1, not {self.share}.")


@dataclass(frozen=True)
class SideRecording:
    """The rollouts of a `SideSource` in a round; attributes as there."""

    share: float
    recorder: SegmentRecorder
    shown: Callable[[Segment], Segment] = _as_it_is


class QueryChooser:
    """Cuts segments out of recent rollouts and chooses which of them to ask about.

    Args:
        config: what is asked.
        kinds: the kinds of feedback by name (`FeedbackConfig.resolved_kinds`).
        horizon: steps in an episode, for the thresholds of scripted teachers.
        seed: of the candidates that are drawn.

    Attributes:
        rng: what draws them; a checkpoint holds its state.
    """

    def __init__(self, config: FeedbackConfig, kinds: Mapping[str, FeedbackKind], horizon: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._config, self._kinds, self._horizon = config, kinds, horizon
        self._rule = SELECTION_RULES.resolve(config.selection)
        self._asked: list[Query] = []
        self._asked_bytes = 0
        self._trained: set[str] = set()
        self._contexts: dict[str, dict[str, Any]] = {}
        self._warned = False

    def choose(
        self,
        recorder: SegmentRecorder,
        ensemble: RewardEnsemble,
        round: int,
        wanted: Mapping[str, int],
        wanted_held_out: int,
        side: Sequence[SideSource] = (),
        prefer: Preference | None = None,
    ) -> list[Query]:
        """The queries of a round.

        Args:
            recorder: the recent rollouts of the training.
            ensemble: the reward model as it is by now.
            round: the round's number.
            wanted: how many queries of each kind to train on; fewer where hardly any segment fits.
            wanted_held_out: how many comparisons to hold out; none where all others that are wanted do not fit.
            side: further rollouts to choose from, but not what is held out; their shares come to at most 1.
            prefer: which segments of the recorder are to be asked about to train on; any where None.

        Raises:
            ValueError: if the selection rule fails, gives no indices, or chooses nothing before anything was asked.
        """
        queries: list[Query] = []
        played = [SideRecording(each.share, each.play(round), each.shown) for each in side if any(wanted.values())]
        for kind, count in wanted.items():
            queries += self._train_queries(recorder, ensemble, round, count, self._kinds[kind], played, prefer)
        if queries or not any(wanted.values()):
            queries += self._held_out_queries(recorder, ensemble, round, wanted_held_out, queries)
        return queries

    def remember(self, queries: Sequence[Query]) -> None:
        """Take note of what was asked: later rounds compare with it, and held-out pairs share no segment with it.

        Of large segments only the last ones are compared with, as many as fit into `_REMEMBERED_BYTES`.
        """
        for query in queries:
            if query.purpose is Purpose.TRAIN:
                self._asked.append(query)
                self._asked_bytes += _size(query)
                self._trained |= {segment.digest for segment in query.segments}
                while self._asked_bytes > _REMEMBERED_BYTES:
                    self._asked_bytes -= _size(self._asked.pop(0))
                context = {name: value for name, value in query.context.items() if name not in _ROUND_CONTEXT}
                self._contexts.setdefault(query.kind, context)

    def forget(self) -> None:
        """Know of nothing that was asked."""
        self._asked, self._asked_bytes = [], 0
        self._trained = set()
        self._contexts = {}

    def _train_queries(
        self,
        recorder: SegmentRecorder,
        ensemble: RewardEnsemble,
        round: int,
        count: int,
        kind: FeedbackKind,
        side: Sequence[SideRecording],
        prefer: Preference | None,
    ) -> list[Query]:
        if count <= 0:
            return []
        pool = self._pool(recorder, count, kind.segments, self._past_segments(kind), side, prefer)
        if len(pool) < kind.segments:
            return []
        groups = _each_once(self._select(pool, ensemble, self._rule, count, kind.segments))
        if kind.name not in self._contexts:
            self._contexts[kind.name] = kind.context(pool.true_rewards)
        return self._queries(pool, round, Purpose.TRAIN, kind.name, groups, self._contexts[kind.name])

    def _held_out_queries(
        self, recorder: SegmentRecorder, ensemble: RewardEnsemble, round: int, count: int, asked: Sequence[Query]
    ) -> list[Query]:
        """Comparisons of any pairs whose segments the reward is not trained on; so some are chosen to spare."""
        if count <= 0:
            return []
        pool = self._pool(recorder, count, 2, [])
        if len(pool) < 2:
            return []
        trained = self._trained | {segment.digest for query in asked for segment in query.segments}
        groups = [
            group
            for group in self._select(pool, ensemble, select_uniform, _SPARE_TEST_PAIRS * count, 2)
            if not trained & {segment.digest for segment in group}
        ]
        return self._queries(pool, round, Purpose.TEST, Comparison.name, groups[:count], {})

    def _pool(
        self,
        recorder: SegmentRecorder,
        count: int,
        segments: int,
        past: Sequence[Segment],
        side: Sequence[SideRecording] = (),
        prefer: Preference | None = None,
    ) -> SegmentPool:
        config = self._config
        size = segments * max(config.candidates_per_query * count, _FEWEST_CANDIDATES)
        return SegmentPool(recorder, size, config.steps, past, config.past_segment_share, self.rng, side, prefer)

    def _past_segments(self, kind: FeedbackKind) -> list[Segment]:
        """What may be asked about again: each segment once where many are shown, and nothing where one is."""
        if kind.segments == 1:
            return []
        past = [segment for query in self._asked for segment in query.segments]
        return past if kind.segments == 2 else list({segment.digest: segment for segment in past}.values())

    def _select(
        self, pool: SegmentPool, ensemble: RewardEnsemble, rule: SelectionRule, count: int, segments: int
    ) -> list[tuple[Segment, ...]]:
        candidates = make_candidates(ensemble, pool, segments, self.rng)
        if rule is self._rule and ensemble.fits and self._config.near_ties:
            candidates = without_near_ties(candidates, self._config.near_ties)
        chosen = choose(rule, candidates, count, ensemble, self._asked, self.rng)
        if len(candidates) and not chosen and not self._warned:
            nothing = (
                f"The selection rule {rule_name(rule)} has chosen none of {len(candidates)} candidates, although "
                f"{count} queries are due"
            )
            if not self._asked:
                raise ValueError(f"{nothing} and nothing was asked before, so there would be nothing to learn from.")
            self._warned = True
            _logger.warning("%s; as long as it chooses none, nothing more is asked.", nothing)
        return [tuple(pool.segment(int(index)) for index in candidates.groups[group]) for group in chosen]

    def _queries(
        self,
        pool: SegmentPool,
        round: int,
        purpose: Purpose,
        kind: str,
        groups: Sequence[tuple[Segment, ...]],
        context: Mapping[str, Any],
    ) -> list[Query]:
        figures = (pool.mean_reward * self._horizon, self._horizon)
        context = {**dict(zip(_ROUND_CONTEXT, figures, strict=True)), **context}
        return [
            Query(f"{round}/{purpose}/{kind}/{number}", round, group, kind, purpose, context)
            for number, group in enumerate(groups)
        ]


def _each_once(groups: Sequence[tuple[Segment, ...]]) -> list[tuple[Segment, ...]]:
    """The groups without those that show the same segments as an earlier one.

    Where hardly any window fits, as where a segment is a whole episode, the same ones are drawn again and again.
    """
    distinct: dict[frozenset[str], tuple[Segment, ...]] = {}
    for group in groups:
        distinct.setdefault(frozenset(segment.digest for segment in group), group)
    return list(distinct.values())


def _size(query: Query) -> int:
    return sum(segment.nbytes for segment in query.segments)


class SegmentPool:
    """Segments that could be asked about: windows of recent rollouts, and after them segments that were asked before.

    Where a policy has settled, its recent segments are all alike. Only beside earlier ones can a person say whether
    that is a good place to have settled.

    Args:
        recorder: the recent rollouts of the training.
        size: how many segments; fewer where hardly any window fits.
        length: steps in a segment.
        past: segments that were asked about before; none to choose from recent ones alone.
        past_segment_share: how much of the second half of the pool, whose segments are paired with those of the first,
            is made of them.
        rng: draws the segments.
        side: further recent rollouts, and how much of the rest of the pool is made of each, in random places.
        prefer: the segments of the recorder are those that it puts highest, of four times as many.

    Attributes:
        actions: of all segments, (P, T, *act).
        true_rewards: of the recent segments, (R, T).
        windows: where they lie, and how much of them was lived; the copies of further rollouts are counted on from
            those of the training, and their last steps are taken for as recent. Past segments have rows below 0, each
            its own.
        mean_reward: mean true reward of a step in the recent segments.
        remembered: steps of every copy that the recent rollouts of the training hold.
    """

    def __init__(
        self,
        recorder: SegmentRecorder,
        size: int,
        length: int,
        past: Sequence[Segment],
        past_segment_share: float,
        rng: np.random.Generator,
        side: Sequence[SideRecording] = (),
        prefer: Preference | None = None,
    ) -> None:
        count = min(round(size / 2 * past_segment_share), len(past))
        self._past = [past[index] for index in rng.permutation(len(past))[:count]]
        self.remembered = len(recorder)
        sources: list[tuple[SegmentRecorder, int, Callable[[Segment], Segment]]] = [(recorder, size - count, _as_it_is)]
        for each in side:
            share = min(round(each.share * (size - count)), sources[0][1])
            sources[0] = (recorder, sources[0][1] - share, _as_it_is)
            sources.append((each.recorder, share, each.shown))
        self._parts = [
            _PoolPart(part, _windows(part, most, length, rng, prefer if part is recorder else None), shown)
            for part, most, shown in sources
        ]
        recent = sum(len(part.windows) for part in self._parts)
        # Nothing is drawn for rollouts of the training alone.
        self._order = rng.permutation(recent) if side else np.arange(recent)
        self._recent = recent
        gathered = [part.recorder.gather_actions(part.windows) for part in self._parts]
        actions = np.concatenate([actions for actions, _ in gathered])[self._order]
        self.true_rewards: NDArray[np.float32] = np.concatenate([rewards for _, rewards in gathered])[self._order]
        self.actions: NDArray[Any] = np.concatenate([actions, *(segment.actions[None] for segment in self._past)])
        self.mean_reward = float(self.true_rewards.mean()) if recent else 0.0
        copies = np.cumsum([0, *(part.recorder.copies for part in self._parts)])
        starts = [part.windows.starts + self.remembered - len(part.recorder) for part in self._parts]
        rows = [part.windows.rows + before for part, before in zip(self._parts, copies, strict=False)]
        lived = [part.windows.lived_steps for part in self._parts]
        self.windows = Windows(
            np.concatenate([np.concatenate(starts)[self._order], np.zeros(count, dtype=np.intp)]),
            np.concatenate([np.concatenate(rows)[self._order], -1 - np.arange(count)]),
            length,
            np.concatenate(
                [np.concatenate(lived)[self._order], [segment.lived for segment in self._past]],
            ).astype(np.intp),
        )

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def observations(self) -> Observations:
        """Of all segments, (P, T, *obs), or a dict of such arrays."""
        recent = concatenate_observations([part.recorder.gather(part.windows)[0] for part in self._parts])
        gathered: Observations = map_observations(
            lambda array, *parts: np.concatenate([array[self._order], *(part[None] for part in parts)]),
            recent,
            *(segment.observations for segment in self._past),
        )
        return gathered

    def index(self) -> NDArray[np.intp]:
        """Which of the distinct steps each step of a segment is, (P, T); -1 for absorbing ones."""
        before, found = 0, []
        for part in self._parts:
            found.append(np.where(part.index < 0, -1, part.index + before))
            before += len(part.steps)
        past = before + np.arange(len(self._past) * self.windows.length).reshape(-1, self.windows.length)
        past[self.windows.absorbing[self._recent :]] = -1
        return np.concatenate([np.concatenate(found)[self._order], past])

    def distinct(self) -> Iterator[tuple[Observations, NDArray[Any]]]:
        """The distinct steps in their order, some at a time: observations (B, *obs) and actions (B, *act)."""
        recorder = self._parts[0].recorder
        at_once = max(_FEWEST_AT_ONCE, min(_MOST_AT_ONCE, _BYTES_AT_ONCE * recorder.copies // recorder.step_bytes))
        for part in self._parts:
            for start in range(0, len(part.steps), at_once):
                yield part.recorder.steps(part.steps[start : start + at_once])
        segments = max(at_once // self.windows.length, 1)
        for start in range(0, len(self._past), segments):
            some = self._past[start : start + segments]
            observations = concatenate_observations([segment.observations for segment in some])
            yield observations, np.concatenate([segment.actions for segment in some])

    def segment(self, index: int) -> Segment:
        """One of the segments, with what is needed to show it."""
        if index >= self._recent:
            return self._past[index - self._recent]
        place = int(self._order[index])
        for part in self._parts:
            if place < len(part.windows):
                return part.shown(part.recorder.segment(part.windows, place))
            place -= len(part.windows)
        raise AssertionError("Every segment is of one of the rollouts.")


class _PoolPart:
    """Windows of one recorder, and their distinct steps.

    Attributes:
        steps: the numbers of the distinct steps, by which the recorder finds them, (S,); windows overlap, and each step
            that several of them hold is looked at once.
        index: which of these each step of a window is, (M, T); -1 for absorbing ones.
    """

    def __init__(self, recorder: SegmentRecorder, windows: Windows, shown: Callable[[Segment], Segment]) -> None:
        self.recorder, self.windows, self.shown = recorder, windows, shown
        self.steps, index = np.unique(recorder.step_numbers(windows), return_inverse=True)
        self.index: NDArray[np.intp] = index.reshape(len(windows), windows.length)
        if len(self.steps) and self.steps[0] < 0:
            self.steps, self.index = self.steps[1:], self.index - 1


def _windows(
    recorder: SegmentRecorder, count: int, length: int, rng: np.random.Generator, prefer: Preference | None
) -> Windows:
    """Windows at random, or with `prefer` those that it puts highest, in their drawn order."""
    if prefer is None:
        return recorder.sample_windows(count, length, rng)
    drawn = recorder.sample_windows(_DRAWN_PER_PREFERRED * count, length, rng)
    if not len(drawn):
        return drawn
    return drawn.take(np.sort(np.argsort(-prefer(drawn), kind="stable")[:count]))
