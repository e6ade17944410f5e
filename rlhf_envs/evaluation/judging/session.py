"""One session of judging: ask the comparisons that are missing, have them answered, and sum up all answers."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from stable_baselines3.common.policies import BasePolicy

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.evaluation.episodes import FIRST_SEED
from rlhf_envs.evaluation.judging.matches import ClipRecorder, Participant, ask_matches, open_judgements, plan_matches
from rlhf_envs.evaluation.judging.scores import Judgement, answers_about, summarise
from rlhf_envs.evaluation.policies import POLICY_NAMES, bind, named_policy, sb3_policy
from rlhf_envs.evaluation.reward_model import ModelScores
from rlhf_envs.feedback import (
    ANNOTATORS,
    LiveAnswer,
    PreferenceStore,
    Purpose,
    QueryCounts,
    ScriptedTeacher,
    StoreMissingError,
)
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.runs import RunDirectory

PURPOSES = (Purpose.JUDGE,)
HELD_OUT, JUDGEMENTS = "held-out answers", "judgements"
"""The answers that the reward model is tested on: those of the training that were held out, and the judgements."""

_AT_ONCE = 100


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
            or `scripted_judge`.
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
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("recording clips from equal starts", total=len(matches))
                ask_matches(store, matches, recorder, config.seed, config.overlap, lambda: progress.advance(task))
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


def scripted_judge(name: str) -> Callable[[PreferenceStore], None]:
    """A scripted teacher, which knows the true reward, as a judge.

    Args:
        name: of a scripted teacher in `ANNOTATORS`.
    """
    teacher = ScriptedTeacher(ANNOTATORS[name], name)

    def collect_answers(store: PreferenceStore) -> None:
        while taken := store.take_many(teacher.name, _AT_ONCE, purposes=PURPOSES):
            store.answer_many([teacher.answer(query) for query in taken])

    return collect_answers


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
    found += [_untrained(name) if name in POLICY_NAMES else _trained(Path(name), endings) for name in against]
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
    policy, ending = sb3_policy(model), path.resolve().name
    return Participant(ending if endings[ending] == 1 else str(path), _fingerprint(model.policy), lambda seed: policy)


def _untrained(name: str) -> Participant:
    return Participant(name, name, lambda seed: named_policy(name, seed))


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
            found[HELD_OUT] = ModelScores.of(ensemble, own.live_answers(Purpose.TEST), own)
    except StoreMissingError:
        pass  # the run's store may have been deleted or moved
    found[JUDGEMENTS] = ModelScores.of(ensemble, answers, store)
    return {name: scores for name, scores in found.items() if scores.scores.decided}
