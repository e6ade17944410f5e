"""Policies compared side by side: clips from equal starts on shuffled sides, asking, and what the answers say.

Nothing is asked twice: a session goes on where the last one ended.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import combinations, count, islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.progress import Progress
from stable_baselines3.common.policies import BasePolicy

from rlhf_envs.clips import FrameCapture, clip_painter, snapshot_source
from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.evaluation.episodes import FIRST_SEED, Copies
from rlhf_envs.evaluation.judging.scores import Judgement, answers_about, summarise
from rlhf_envs.evaluation.policies import POLICY_NAMES, AnyPolicy, SB3Policy, bind, named_policy
from rlhf_envs.evaluation.reward_model import ModelScores, predict_stored
from rlhf_envs.feedback import (
    FunctionAnnotator,
    LiveAnswer,
    PreferenceStore,
    Purpose,
    Query,
    QueryCounts,
    ScriptedTeacher,
    StoreMissingError,
    make_annotator,
)
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.kinds import Critic
from rlhf_envs.randomness import uniform_by_name
from rlhf_envs.recording import SegmentRecorder, SnapshotSource, Windows
from rlhf_envs.rewards import predict_answers
from rlhf_envs.runs import RunDirectory
from rlhf_envs.segments import Segment
from rlhf_envs.terminal import time_left

PURPOSES = (Purpose.JUDGE,)
JUDGEMENTS = "judgements"
"""The answers that the reward model is tested on besides those of the training (`AccuracySource`)."""

_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class JudgingConfig:
    """How policies are compared side by side.

    Attributes:
        comparisons: how many are asked in all, shared out evenly over the pairs of policies.
        clip_seconds: how long a clip is, at the environment's own frame rate.
        moments: at how many moments, spread evenly over the episode, clips begin.
        overlap: how many annotators answer each of the comparisons that are asked from now on.
        seed: of the first episode.
        store: the URL of a database for the judgements, for annotators on several machines; the file judgements.db in
            the run's folder where None.

    Raises:
        ValueError: if a setting is out of its range.
    """

    comparisons: int = 60
    clip_seconds: float = 3.5
    moments: int = 4
    overlap: int = 1
    seed: int = FIRST_SEED
    store: str | None = None

    def __post_init__(self) -> None:
        for name in ("comparisons", "moments", "overlap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 < self.clip_seconds < float("inf"):
            raise ValueError(f"clip_seconds must be a positive number of seconds, not {self.clip_seconds}.")


def judge(
    run_dir: str | os.PathLike[str],
    against: Sequence[str],
    collect_answers: Callable[[PreferenceStore], object],
    config: JudgingConfig | None = None,
    *,
    needs_pictures: bool = True,
    console: Console | None = None,
) -> Judgement:
    """Have policies compared side by side.

    Judges are shown two clips that begin at the same step of two episodes from the same start, on shuffled sides,
    without names. The answers are stored; the same call again continues where the last one ended and asks nothing
    twice.

    Args:
        run_dir: a finished run.
        against: what its policy is compared with: folders of other runs of the same task, and names of `POLICY_NAMES`.
        collect_answers: has the open comparisons (`Purpose.JUDGE`) of a store answered, all or some: a window, a page,
            or `judge_by_code`.
        config: how often they are compared, and what judges see.
        needs_pictures: refuse an environment that cannot be drawn.
        console: for progress and messages.

    Raises:
        ValueError: if the runs or the policies do not fit; before anything is asked.
        StoreError: if the answers cannot be stored.
    """
    console, config = console or Console(), config or JudgingConfig()
    directory = RunDirectory(run_dir)
    environment, participants = gather_participants(directory.path, against)
    length, moments = config.clip_seconds, config.moments
    recorder = ClipRecorder(environment, clip_seconds=length, moments=moments, needs_pictures=needs_pictures)
    with closing(recorder):
        # What cannot be compared is refused before a store is made.
        for participant in participants:
            bind(participant.policy(config.seed), recorder.copies)
        plan_matches(participants, config.comparisons, (), config.seed)
        place = config.store or os.fspath(directory.path / "judgements.db")
        described = StoredEnvironment(environment, recorder.length, _rubric(directory))
        with open_judgements(place, described) as store:
            asked = {key.rpartition("/")[0] for key in store.keys(Purpose.JUDGE)}
            matches = plan_matches(participants, config.comparisons, asked, config.seed)
            with _reported(console, "clips recorded from equal starts", len(matches)) as advance:
                ask_matches(store, matches, recorder, config.seed, config.overlap, advance)
            if _open_comparisons(store):
                # Tells every screen that no further comparisons will come.
                store.post_status(TRAINING, {"state": "finished"})
                collect_answers(store)
            else:
                console.print("Every comparison has been answered; --comparisons with a larger number asks more.")
            answers = store.live_answers(Purpose.JUDGE)
            counted = answers_about(answers, [participant.key for participant in participants])
            model = _model_scores(directory, store, counted)
            return summarise(environment.id, recorder.length, participants, answers, model, _open_comparisons(store))


@contextmanager
def _reported(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Gives what is called after each of some steps: a bar on a terminal, and in a file a line now and then."""
    started_at = said_at = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, said_at
        done += 1
        progress.advance(task)
        now = time.monotonic()
        if not console.is_terminal and now - said_at >= _SECONDS_BETWEEN_LINES:
            said_at = now
            left = time_left(now - started_at, done, total)
            console.print(f"{done:,} of {total:,} {what}, {left}", highlight=False, soft_wrap=True)

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield advance


def judge_by_code(wanted: Any, critic: Critic | None = None) -> Callable[[PreferenceStore], int]:
    """A scripted teacher, which knows the true reward, or a function of two clips as a judge.

    Args:
        wanted, critic: as `make_annotator` takes them.

    Raises:
        ValueError: if it is neither, or a teacher that skips or ties by shares of an average stretch, which is known in
            training only.
    """
    annotator = make_annotator(wanted, critic)
    if not isinstance(annotator, ScriptedTeacher | FunctionAnnotator):
        raise ValueError(f"{wanted} cannot judge policies: that is for scripted teachers and functions of two clips.")
    if isinstance(annotator, ScriptedTeacher) and (annotator.config.skip or annotator.config.equal):
        raise ValueError(f"{wanted} cannot judge policies, as it skips or ties by figures of a training; try oracle.")
    return partial(annotator.serve, purposes=PURPOSES)


def gather_participants(run_dir: Path, against: Sequence[str]) -> tuple[EnvironmentRef, list[Participant]]:
    """The environment of a run, and the policies that are compared in it, the run's own first.

    Args:
        run_dir: a finished run.
        against: folders of other runs of the same task, and names of `POLICY_NAMES`.

    Raises:
        ValueError: if there are fewer than two policies, one is named twice, or a run has not finished, has no policy
            or is of another task.
    """
    if not against:
        raise ValueError(
            "At least two policies are needed to compare: add --against with folders of other runs, or with "
            f"{', '.join(POLICY_NAMES)}."
        )
    environment = RunDirectory(run_dir).read_environment()
    others = [name for name in against if name not in POLICY_NAMES]
    for name in others:
        check_same_environment(environment, RunDirectory(name))
    endings = Counter(path.resolve().name for path in (run_dir, *map(Path, others)))
    found = [_trained(run_dir, endings)]
    found += [
        Participant(name, name, partial(named_policy, name)) if name in POLICY_NAMES else _trained(Path(name), endings)
        for name in against
    ]
    by_key: dict[str, Participant] = {}
    for participant in found:
        same = by_key.setdefault(participant.key, participant)
        if same is not participant:
            raise ValueError(f"{same.name} and {participant.name} are the same policy; give each policy once.")
    return environment, found


def check_same_environment(ours: EnvironmentRef, other: RunDirectory) -> None:
    """Refuse a run in another environment.

    Raises:
        ValueError: if it is one, has no policy, or there is no run.
    """
    if not other.config_path.is_file():
        raise ValueError(
            f"{other.path} holds no run: there is no {other.config_path.name} in it; and it is none of "
            f"{', '.join(POLICY_NAMES)} either."
        )
    theirs = other.read_environment()
    for part in fields(EnvironmentRef):
        if getattr(theirs, part.name) != getattr(ours, part.name):
            raise ValueError(
                f"The environment of the run in {other.path} has {part.name} = {getattr(theirs, part.name)} and not "
                f"{getattr(ours, part.name)}; only runs of one task can be compared."
            )


def _trained(path: Path, endings: Mapping[str, int]) -> Participant:
    """The policy of a run; `endings` says how many of the runs have the same last part of their path."""
    model = RunDirectory(path).load_policy()
    policy, ending = SB3Policy(model), path.resolve().name
    return Participant(ending if endings[ending] == 1 else str(path), _fingerprint(model.policy), lambda seed: policy)


def _fingerprint(policy: BasePolicy) -> str:
    """A hash of the parameters, not of the file, whose bytes change when it is written again."""
    content = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(policy.state_dict().items()):
        content.update(name.encode())
        content.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return content.hexdigest()


def _rubric(directory: RunDirectory) -> str:
    """The rubric of the run's training, which judges are shown too; empty where it had none of its own."""
    try:
        with directory.open_store() as store:
            return store.environment.rubric
    except StoreMissingError:
        return ""


def _open_comparisons(store: PreferenceStore) -> int:
    return store.counts().get(Purpose.JUDGE, QueryCounts()).open


def _model_scores(
    directory: RunDirectory, store: PreferenceStore, answers: Sequence[LiveAnswer]
) -> dict[str, ModelScores]:
    """How well the run's reward model predicts each set of answers that has any; empty for a run without one."""
    ensemble = directory.load_reward_model()
    if ensemble is None:
        return {}
    found = {}
    try:
        with directory.open_store() as own:
            own_scores = ModelScores.of(predict_stored(ensemble, own))
            found[str(own_scores.source)] = own_scores
    except StoreMissingError:
        pass  # the run's store may have been deleted or moved
    found[JUDGEMENTS] = ModelScores.of(predict_answers(ensemble, answers, store))
    return {name: scores for name, scores in found.items() if scores.scores.decided}


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
        length: how many steps it has, in place of `clip_seconds`.
        moments: at how many steps, spread evenly over the episode, clips begin.
        needs_pictures: refuse an environment that cannot be drawn.
        takes_pictures: whether an environment whose states cannot be drawn is rendered if it can be.

    Attributes:
        length: steps in a clip.
        starts: the steps at which clips begin, from the first of the episode to the last at which one fits.
        copies: the single copy.

    Raises:
        ValueError: if the environment cannot be made, or cannot be drawn although it should.
    """

    def __init__(
        self,
        environment: EnvironmentRef | str,
        *,
        clip_seconds: float = 3.5,
        length: int | None = None,
        moments: int,
        needs_pictures: bool,
        takes_pictures: bool = True,
    ) -> None:
        environment = EnvironmentRef.of(environment)
        self._env, self._snapshots = _recordable(environment, takes_pictures)
        self.copies = Copies(environment, [self._env])
        self._frames = None
        if takes_pictures and self._snapshots is None and self._env.render_mode == "rgb_array":
            self._frames = FrameCapture(lambda _: [self._env.render()], 1, 1)
        if needs_pictures and self._snapshots is None and self._frames is None:
            raise ValueError(
                f"{environment.id} cannot be shown to people, because its states cannot be drawn and it does not "
                "render as 'rgb_array'; --feedback oracle judges it without pictures."
            )
        steps = environment.episode_length()
        if length is None:
            length = max(round(clip_seconds * clip_painter(environment).frames_per_second), 1)
        self.length = min(length, steps)
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


def _recordable(ref: EnvironmentRef, takes_pictures: bool) -> tuple[gym.Env[Any, Any], SnapshotSource | None]:
    """The environment after a reset, and the source of its states; without one it renders pictures if it can."""
    env = ref.make()
    env.reset(seed=0)
    source = snapshot_source(env)
    if source is not None or not takes_pictures or "rgb_array" not in (env.metadata.get("render_modes") or ()):
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
        seed: sorted(by_seed[seed], key=lambda match: uniform_by_name(match.name, "order")) for seed in sorted(by_seed)
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
    drawn = uniform_by_name(match.name, "side")
    left, right = (match.second, match.first) if drawn < 0.5 else (match.first, match.second)
    return Query(
        key=f"{match.name}/{step}",
        round=0,
        segments=(clips[left.key], clips[right.key]),
        purpose=Purpose.JUDGE,
        context={"left": left.key, "right": right.key, "seed": match.seed, "step": step},
    )
