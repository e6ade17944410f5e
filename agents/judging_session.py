"""One session of judging: ask the comparisons that are missing, have them answered, and sum up all answers."""

from __future__ import annotations

import getpass
import hashlib
import importlib.util
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pygame
from rich.console import Console
from rich.progress import Progress
from stable_baselines3.common.policies import BasePolicy

from rlhf_envs.environment import EnvironmentRef, StoredEnvironment
from rlhf_envs.envs.rendering import open_display
from rlhf_envs.evaluation.episodes import FIRST_SEED
from rlhf_envs.evaluation.judging.matches import (
    ClipRecorder,
    Participant,
    ask_matches,
    asked_matches,
    open_judgements,
    plan_matches,
)
from rlhf_envs.evaluation.judging.scores import Judgement, answers_about, summarise
from rlhf_envs.evaluation.policies import POLICY_NAMES, bind, named_policy, sb3_policy
from rlhf_envs.evaluation.reward_model import ModelScores, held_out_predictions, predictions
from rlhf_envs.feedback import (
    ANNOTATORS,
    AnnotatorSession,
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
PEOPLE = ("window", "web")
HELD_OUT, JUDGEMENTS = "held-out answers", "judgements"
"""The answers that the reward model is tested on: those of the training that were held out, and the judgements."""

_AT_ONCE = 100


@dataclass(frozen=True)
class JudgingConfig:
    """How policies are compared side by side.

    Attributes:
        feedback: who judges: people in a "window" or on a "web" page, who see pairs of clips from equal starts without
            names; or a scripted judge, who knows the true reward. Closing the window, or Ctrl-C at the web page, ends
            the session and shows the figures; the same command goes on with the open comparisons.
        comparisons: how many are asked in all, shared out evenly over the pairs of policies.
        clip_seconds: how long a clip is, at the environment's own frame rate.
        moments: at how many moments, spread evenly over the episode, clips begin.
        overlap: how many annotators answer each of the comparisons that are asked from now on.
        annotator: who answers in the window; the name of your account where none is given.
        annotators: who gets a personal link to the web page; --annotator alone where none are given.
        renew: whose link should be a new one; the old one then no longer works.
        host: where the page can be reached from; the default is this machine alone.
        port: of the web page; 0 chooses a free one.
        theme: of the window, light or dark.
        store: the URL of a database for the judgements, for annotators on several machines; the file judgements.db in
            the run's folder where None.
    """

    feedback: Literal["window", "web", "oracle", "boltzmann", "myopic", "mistake"] = "window"
    comparisons: int = 60
    clip_seconds: float = 3.5
    moments: int = 4
    overlap: int = 1
    annotator: str = ""
    annotators: tuple[str, ...] = ()
    renew: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    theme: Literal["light", "dark"] = "light"
    store: str | None = None

    @property
    def asks_people(self) -> bool:
        """Whether people judge."""
        return self.feedback in PEOPLE

    @property
    def person(self) -> str:
        """The name of the person at this machine."""
        return self.annotator or getpass.getuser()

    def check(self) -> None:
        """Check before any work that these settings are valid, and that this machine can show people clips.

        Raises:
            ValueError: if a setting is out of its range.
            RuntimeError: if no window can be opened, or what serves the web page is not installed.
        """
        for name in ("comparisons", "moments", "overlap"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")
        if not 0 < self.clip_seconds < float("inf"):
            raise ValueError(f"clip_seconds must be a positive number of seconds, not {self.clip_seconds}.")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"A port is a number from 0 to 65535, not {self.port}.")
        if self.feedback == "window":
            try:
                open_display()
            except pygame.error as error:
                raise RuntimeError(
                    f"No window can be opened ({error}); on a machine without a screen use --feedback web."
                ) from error
            pygame.display.quit()
        if self.feedback == "web" and any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
            raise RuntimeError("The web page needs FastAPI and uvicorn: pip install 'rlhf-envs[web]'.")


def judge(
    run_dir: str | os.PathLike[str],
    against: Sequence[str],
    config: JudgingConfig,
    seed: int = FIRST_SEED,
    console: Console | None = None,
) -> Judgement:
    """Have policies compared side by side.

    Judges see two clips that begin at the same step of two episodes from the same start, on shuffled sides, without
    names. The answers are stored; the same call again continues where the last one ended and asks nothing twice.

    Args:
        run_dir: a finished run.
        against: what its policy is compared with: folders of other runs of the same task, and names of `POLICY_NAMES`.
        config: who judges, how often, and what they see.
        seed: of the first episode.
        console: for progress and messages.

    Raises:
        ValueError: if the settings, the runs or the policies do not fit; before anything is asked.
        RuntimeError: if people cannot be asked on this machine.
        StoreError: if the answers cannot be stored.
    """
    console = console or Console()
    config.check()
    directory = RunDirectory(run_dir)
    environment, participants = gather_participants(directory.path, against)
    with ClipRecorder(
        environment, clip_seconds=config.clip_seconds, moments=config.moments, needs_pictures=config.asks_people
    ) as recorder:
        # What cannot be compared is refused before a store is made.
        for participant in participants:
            bind(participant.policy(seed), recorder.copies)
        plan_matches(participants, config.comparisons, (), seed)
        place = config.store or os.fspath(directory.path / "judgements.db")
        with open_judgements(place, StoredEnvironment(environment, recorder.length)) as store:
            matches = plan_matches(participants, config.comparisons, asked_matches(store), seed)
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("recording clips from equal starts", total=len(matches))
                ask_matches(store, matches, recorder, seed, config.overlap, lambda: progress.advance(task))
            _collect_answers(store, config, directory.path / "clips", console)
            answers = store.live_answers(Purpose.JUDGE)
            counted = answers_about(answers, [participant.key for participant in participants])
            model = _model_scores(directory, store, counted)
            open_comparisons = store.counts().get(Purpose.JUDGE, QueryCounts()).open
            return summarise(environment.id, recorder.length, participants, answers, model, open_comparisons)


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
    for name in against:
        if name not in POLICY_NAMES:
            check_same_task(environment, RunDirectory(name))
    runs = [run_dir, *(Path(name) for name in against if name not in POLICY_NAMES)]
    endings = Counter(path.resolve().name for path in runs)
    titles = [path.resolve().name if endings[path.resolve().name] == 1 else str(path) for path in runs]
    trained = iter([_trained(path, title) for path, title in zip(runs, titles, strict=True)])
    found = [next(trained), *(_untrained(name) if name in POLICY_NAMES else next(trained) for name in against)]
    by_key: dict[str, Participant] = {}
    for participant in found:
        if participant.key in by_key:
            raise ValueError(
                f"{by_key[participant.key].name} and {participant.name} are the same policy; give each policy once."
            )
        by_key[participant.key] = participant
    return environment, found


def check_same_task(environment: EnvironmentRef, other: RunDirectory) -> None:
    """Refuse a run of another task.

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
        if getattr(theirs, part.name) != getattr(environment, part.name):
            raise ValueError(
                f"The environment of the run in {other.path} has {part.name} = {getattr(theirs, part.name)} and not "
                f"{getattr(environment, part.name)}; only runs of one task can be compared."
            )


def _trained(path: Path, title: str) -> Participant:
    model = RunDirectory(path).load_policy()
    policy = sb3_policy(model)
    return Participant(title, _fingerprint(model.policy), lambda seed: policy)


def _untrained(name: str) -> Participant:
    return Participant(name, name, lambda seed: named_policy(name, seed))


def _fingerprint(policy: BasePolicy) -> str:
    """A hash of the parameters, not of the file, whose bytes change when it is written again."""
    content = hashlib.blake2b(digest_size=6)
    for name, tensor in sorted(policy.state_dict().items()):
        content.update(name.encode())
        content.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return content.hexdigest()


def _collect_answers(store: PreferenceStore, config: JudgingConfig, clip_folder: Path, console: Console) -> None:
    """Have the open comparisons answered, until all are or the annotator leaves."""
    if store.counts().get(Purpose.JUDGE, QueryCounts()).open == 0:
        console.print("Every comparison has been answered; --comparisons with a larger number asks more.")
        return
    # Tells every screen that no further comparisons will come.
    store.post_status(TRAINING, {"state": "finished"})
    if config.feedback == "window":
        from rlhf_envs.feedback.window import label_in_window

        label_in_window(AnnotatorSession(store, config.person, purposes=PURPOSES), theme=config.theme)
    elif config.feedback == "web":
        from rlhf_envs.feedback.web import serve

        serve(
            store,
            annotators=config.annotators or (config.person,),
            renew=config.renew,
            clip_folder=clip_folder,
            host=config.host,
            port=config.port,
            purposes=PURPOSES,
        )
    else:
        teacher = ScriptedTeacher(ANNOTATORS[config.feedback], config.feedback)
        while taken := store.take_many(teacher.name, _AT_ONCE, purposes=PURPOSES):
            store.answer_many([teacher.answer(query) for query in taken])


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
            found[HELD_OUT] = ModelScores.of(*held_out_predictions(own, ensemble))
    except StoreMissingError:
        pass  # the run's store may have been deleted or moved
    found[JUDGEMENTS] = ModelScores.of(*predictions(store, ensemble, answers))
    return {name: scores for name, scores in found.items() if scores.scores.decided}
