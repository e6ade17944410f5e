"""Which clips of which policies are compared, and recording them: from equal starts, sides shuffled, nothing twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, count, islice
from typing import Any

import gymnasium as gym
import numpy as np

from rlhf_envs.clips import FrameCapture, clip_painter, snapshot_source
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.evaluation.episodes import Copies
from rlhf_envs.evaluation.policies import AnyPolicy, bind
from rlhf_envs.feedback import PreferenceStore, Purpose, Query, StoreMissingError
from rlhf_envs.randomness import uniforms_by_name
from rlhf_envs.recording import SegmentRecorder, SnapshotSource, Windows
from rlhf_envs.segments import Segment


@dataclass(frozen=True, eq=False)
class Participant:
    """One of the policies that are compared.

    Attributes:
        name: as people read it: of a run the last part of its path, or all of it where two runs share that part.
        key: identifies it in the store: a fingerprint of a trained policy, so that judgements of a policy that was
            trained further or replaced since do not count for the new one.
        policy: the policy for an episode with this seed; random actions depend on it.
    """

    name: str
    key: str
    policy: Callable[[int], AnyPolicy]


@dataclass(frozen=True, eq=False)
class Match:
    """Two policies that play the same episode.

    Attributes:
        first, second: the policies, in the order of their keys.
        seed: of the episode.
    """

    first: Participant
    second: Participant
    seed: int

    @property
    def name(self) -> str:
        """Identifies the match, whichever moment of it is shown."""
        return f"{pair_prefix(self.first, self.second)}{self.seed}"


def pair_prefix(first: Participant, second: Participant) -> str:
    """How the keys of all comparisons of two policies begin."""
    return f"judge/{first.key}/{second.key}/"


class ClipRecorder:
    """One copy of an environment, in which a clip of a policy begins at a chosen step of an episode.

    Clips go on with absorbing steps where an episode ends before they do (see `Segment`), so that those of two policies
    have the same length and show the same moment.

    Args:
        environment: which one, or its id.
        clip_seconds: how long a clip lasts at the environment's own frame rate.
        moments: at how many steps, spread evenly over the episode, clips begin.
        needs_pictures: refuse an environment that cannot be drawn.

    Attributes:
        length: steps in a clip.
        starts: the steps at which clips begin, from the first of the episode to the last at which one fits.
        copies: the single copy.

    Raises:
        ValueError: if the environment cannot be made, or cannot be drawn although it should.
    """

    def __init__(
        self, environment: EnvironmentRef | str, *, clip_seconds: float, moments: int, needs_pictures: bool
    ) -> None:
        environment = EnvironmentRef.of(environment)
        self._env, self._snapshots = _recordable(environment)
        self.copies = Copies(environment, [self._env])
        self._frames = None
        if self._snapshots is None and self._env.render_mode == "rgb_array":
            self._frames = FrameCapture(lambda _: [self._env.render()], 1, 1)
        if needs_pictures and self._snapshots is None and self._frames is None:
            raise ValueError(
                f"{environment.id} cannot be shown to people, because its states cannot be drawn and it does not "
                "render as 'rgb_array'; --feedback oracle judges it without pictures."
            )
        steps = environment.episode_length()
        rate = clip_painter(environment).frames_per_second
        self.length = min(max(round(clip_seconds * rate), 1), steps)
        self.starts = tuple(np.unique(np.linspace(0, steps - self.length, moments).round().astype(int)).tolist())

    def clip(self, policy: AnyPolicy, seed: int, start: int) -> Segment:
        """The `length` steps of a policy after step `start` of the episode that begins with `seed`.

        Where the episode is over by then, its last step is shown instead, and with it how it ended.
        """
        spaces = (self.copies.observation_space, self.copies.action_space)
        recorder = SegmentRecorder(*spaces, 1, self.length, self._snapshots, self._frames)
        act = bind(policy, self.copies)
        running = np.ones(1, dtype=np.bool_)
        observations = self.copies.reset(seed)
        for step in range(start + self.length):
            if step >= start:
                recorder.capture()
            actions = act(observations)
            result = self.copies.step(actions, running)
            over = bool(result.done[0])
            if over and step < start:
                recorder.capture()
            if over or step >= start:
                recorder.record(observations, actions, result.true_rewards, result.done)
            if over:
                break
            observations = result.observations
        first = np.zeros(1, dtype=np.intp)
        return recorder.segment(Windows(first, first, self.length, first + len(recorder)), 0)

    def close(self) -> None:
        """Close the environment."""
        self.copies.close()


def _recordable(ref: EnvironmentRef) -> tuple[gym.Env[Any, Any], SnapshotSource | None]:
    """The environment after a reset, and the source of its states; without one it renders pictures if it can."""
    env = ref.make()
    env.reset(seed=0)
    source = snapshot_source(env)
    if source is not None or "rgb_array" not in (env.metadata.get("render_modes") or ()):
        return env, source
    env.close()
    env = ref.make("rgb_array")
    env.reset(seed=0)
    return env, None


def open_judgements(place: str, environment: StoredEnvironment) -> PreferenceStore:
    """Open the store of judgements, or create it.

    Raises:
        ValueError: if it holds clips of another environment or of another length.
        StoreError: if it is damaged, locked, or of another version.
    """
    try:
        store = PreferenceStore.open(place)
    except StoreMissingError:
        return PreferenceStore.create(place, environment)
    stored = store.environment
    if stored == environment:
        return store
    store.close()
    if replace(stored, segment_length=None) == replace(environment, segment_length=None):
        raise ValueError(
            f"The judgements in {place} are of clips of {stored.segment_length} steps and not of "
            f"{environment.segment_length}; leave --clip-seconds as it was, or name another --store."
        )
    raise ValueError(f"The judgements in {place} are of another environment, {stored.id}; name another --store.")


def plan_matches(
    participants: Sequence[Participant], comparisons: int, asked: Collection[str], first_seed: int
) -> dict[int, list[Match]]:
    """The matches that are missing, by seed.

    Each comparison of a pair is of another episode, because two moments of one episode are not independent. All pairs
    play the same episodes.

    Args:
        participants: the policies.
        comparisons: how many shall have been asked in all, spread evenly over the pairs.
        asked: names of the matches that were asked before; they count.
        first_seed: of the episodes.

    Raises:
        ValueError: if there are fewer comparisons than pairs.
    """
    pairs = list(combinations(sorted(participants, key=lambda participant: participant.key), 2))
    if comparisons < len(pairs):
        raise ValueError(
            f"{len(participants)} policies make {len(pairs)} pairs, so at least {len(pairs)} comparisons are needed to "
            f"see each pair once, not {comparisons}."
        )
    share, rest = divmod(comparisons, len(pairs))
    by_seed: dict[int, list[Match]] = defaultdict(list)
    for number, pair in enumerate(pairs):
        done = sum(name.startswith(pair_prefix(*pair)) for name in asked)
        matches = (Match(*pair, seed) for seed in count(first_seed))
        missing = max(share + (number < rest) - done, 0)
        for match in islice((match for match in matches if match.name not in asked), missing):
            by_seed[match.seed].append(match)
    # The order is drawn by name, so that a resumed command shuffles as the first one did.
    return {
        seed: sorted(by_seed[seed], key=lambda match: uniforms_by_name(match.name, "order")) for seed in sorted(by_seed)
    }


def ask_matches(
    store: PreferenceStore,
    matches: dict[int, list[Match]],
    recorder: ClipRecorder,
    first_seed: int,
    overlap: int,
    on_episode: Callable[[], None],
) -> None:
    """Record the matches and ask them as comparisons, episode by episode; each episode whole or not at all.

    Args:
        store: for the queries.
        matches: from `plan_matches`.
        recorder: records the clips.
        first_seed: of the episodes; from one to the next, clips begin at the next of the recorder's `starts`.
        overlap: how many annotators should answer each.
        on_episode: called after each episode.
    """
    for seed, of_seed in matches.items():
        step = recorder.starts[(seed - first_seed) % len(recorder.starts)]
        clips: dict[str, Segment] = {}
        for participant in (one for match in of_seed for one in (match.first, match.second)):
            if participant.key not in clips:
                clips[participant.key] = recorder.clip(participant.policy(seed), seed, step)
        store.ask([_query(match, step, clips) for match in of_seed], wanted=overlap)
        on_episode()


def _query(match: Match, step: int, clips: dict[str, Segment]) -> Query:
    """The comparison. Which policy is on which side stands in its context alone, which no screen shows."""
    (drawn,) = uniforms_by_name(match.name, "side")
    left, right = (match.second, match.first) if drawn < 0.5 else (match.first, match.second)
    return Query(
        key=f"{match.name}/{step}",
        round=0,
        segments=(clips[left.key], clips[right.key]),
        purpose=Purpose.JUDGE,
        context={"left": left.key, "right": right.key, "seed": match.seed, "step": step},
    )
