"""What survives when the trainer, the server or the window is killed while people answer."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from agents.run_directory import RunDirectory
from rlhf_envs.feedback import PreferenceStore, StoreError
from rlhf_envs.feedback.store import QUEUE
from scripts.benchmarks.markdown import markdown_table
from scripts.benchmarks.robustness_cast import Command, Server, Trainer, WebAnnotator, Window

VICTIMS = ("trainer", "server", "window")

_WEB_ANNOTATORS = ("ann", "bob")
_LATEST = 0.9
_LONGEST_PAUSE = 1.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Robustness:
    """Kill what people and training stand on, at random moments, and see whether an answer is lost.

    Each round is a small training run that two annotators answer over HTTP and one in a window, each of them a process
    of its own. The trainer, the server and the window, in turn, are ended by SIGKILL after a random number of answers
    and a random part of a second, and started again as a person would. Then the round goes on to its end.

    Attributes:
        rounds: training runs.
        kills: in each of them.
        comparisons: asked in each of them.
        seed: of the moments.
        seconds: after which a round is given up.
    """

    name: ClassVar[str] = "robustness"
    rounds: int = 4
    kills: int = 5
    comparisons: int = 60
    seed: int = 0
    seconds: float = 900.0

    def __post_init__(self) -> None:
        for name in ("rounds", "kills", "comparisons"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}.")

    def measure(self, out: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        """What became of each round, and of its answers."""
        generator = np.random.default_rng(self.seed)
        found = []
        for number in range(self.rounds):
            latest = max(round(_LATEST * self.comparisons), 1)
            moments = zip(sorted(generator.integers(0, latest, self.kills)), generator.random(self.kills), strict=True)
            kills = [
                Kill(VICTIMS[(number * self.kills + turn) % len(VICTIMS)], int(after), float(pause * _LONGEST_PAUSE))
                for turn, (after, pause) in enumerate(moments)
            ]
            figures = disturbed_round(_new_folder(out / self.name, number), kills, self.comparisons, self.seconds)
            tell(
                f"round {number + 1}: {len(figures.killed)} kills, {figures.acknowledged} answers acknowledged, "
                f"{figures.lost} lost, {figures.doubled} doubled, {figures.seconds:.0f} s"
                + (f"; {figures.trouble}" if figures.trouble else "")
            )
            found.append(asdict(figures))
        return {"rounds": found}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row."""
        rounds = measured["rounds"]
        killed = Counter(victim for each in rounds for victim in each["killed"])
        totals = [sum(each[name] for each in rounds) for name in ("acknowledged", "lost", "doubled", "overlapping")]
        ended = sum(not each["trouble"] for each in rounds)
        figures = [f"{value:,}" for value in (*(killed[victim] for victim in VICTIMS), *totals)]
        columns = [*(f"kills of the {victim}" for victim in VICTIMS), "acknowledged answers", "lost", "doubled"]
        return markdown_table(
            [*columns, "answered by two", "runs that ended"], [[*figures, f"{ended} of {len(rounds)}"]]
        )


@dataclass(frozen=True)
class Kill:
    """When what is killed.

    Attributes:
        victim: one of `VICTIMS`.
        after: how many answers must have been acknowledged.
        pause: seconds from then to the kill.
    """

    victim: str
    after: int
    pause: float


@dataclass(frozen=True)
class RoundFigures:
    """What became of one round.

    Attributes:
        killed: who was, in this order; whoever had ended already when its moment came is left out.
        acknowledged: answers that somebody was told are stored.
        lost: those of them that are not in the store as they were given.
        doubled: answers that are there although their annotator had given one, or over HTTP although nobody was told.
        overlapping: queries that several annotators answered where one was wanted. That is right where somebody was cut
            off for longer than a query is kept for them, and answers it after all: no one's work is thrown away.
        trouble: why the round did not come to its end; empty if it did.
        seconds: that it took.
    """

    killed: list[str]
    acknowledged: int
    lost: int
    doubled: int
    overlapping: int
    trouble: str
    seconds: float


def disturbed_round(folder: Path, kills: Sequence[Kill], comparisons: int, seconds: float) -> RoundFigures:
    """One training run that people answer, with some kills in it.

    Args:
        folder: for the run and for what the processes say; it must exist.
        kills: in the order in which they come.
        comparisons: of the run.
        seconds: after which it is given up.
    """
    began = time.monotonic()
    run = folder / "run"
    trainer, server, window = Trainer(run, comparisons), Server(run, _WEB_ANNOTATORS), Window(run, "cyd")
    cast: dict[str, Command] = dict(zip(VICTIMS, (trainer, server, window), strict=True))
    people = [WebAnnotator(name, server) for name in _WEB_ANNOTATORS]
    wait = _Waiting(cast, people, began + seconds)
    trouble, killed = "", []

    def answered(least: int) -> bool:
        return trainer.ended or sum(person.queued for person in people) + len(window.acknowledged()) >= least

    with ExitStack() as put_away:
        for command in cast.values():
            put_away.callback(command.kill)
        for person in people:
            put_away.callback(person.leave)
        try:
            trainer.start()
            wait.until(lambda: _is_store(run), "the run to make its store")
            server.start()
            window.start()
            for person in people:
                person.start()
            for kill in kills:
                wait.until(partial(answered, kill.after), "the answers before a kill")
                time.sleep(kill.pause)
                if cast[kill.victim].kill():
                    cast[kill.victim].start()
                    killed.append(kill.victim)
            wait.until(lambda: trainer.ended, "training to end")
            wait.until(lambda: _open_queries(run) == 0, "the last answers")
            # Whoever has sent something is told what became of it before the server stops.
            for person in people:
                person.leave()
            trouble = _what_is_left(run, cast)
        except TimeoutError as timeout:
            trouble = str(timeout)
    given = [person.acknowledged for person in people]
    compared = _compared(run, given, window.acknowledged(), window.annotator)
    answers = sum(len(each) for each in given) + len(window.acknowledged())
    return RoundFigures(killed, answers, *compared, trouble, round(time.monotonic() - began, 1))


@dataclass
class _Waiting:
    """Waits for conditions, as long as nothing has ended that should not have.

    Attributes:
        cast: the processes.
        people: who answer over HTTP.
        give_up_at: a time of the monotonic clock.
    """

    cast: dict[str, Command]
    people: Sequence[WebAnnotator]
    give_up_at: float

    def until(self, condition: Callable[[], bool], awaited: str) -> None:
        """Return when the condition holds; `TimeoutError` if it does not in time, or somebody has gone."""
        while not condition():
            for name, command in self.cast.items():
                if command.ended_badly:
                    raise TimeoutError(f"while waiting for {awaited}, the {name} ended: {command.last_words}")
            for person in self.people:
                if person.refusal:
                    raise TimeoutError(f"while waiting for {awaited}, {person.refusal}")
            if time.monotonic() > self.give_up_at:
                raise TimeoutError(f"waited too long for {awaited}")
            time.sleep(_POLL_SECONDS)


def _new_folder(parent: Path, number: int) -> Path:
    """A folder that is not there yet; what an earlier, stopped measurement left stays where it is."""
    attempt = 0
    while True:
        folder = parent / (f"round-{number + 1}" + (f"-{attempt + 1}" if attempt else ""))
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
        attempt += 1


def _is_store(run: Path) -> bool:
    try:
        PreferenceStore.open(RunDirectory(run).store_path).close()
    except StoreError:
        return False
    return True


def _open_queries(run: Path) -> int:
    with PreferenceStore.open(RunDirectory(run).store_path) as store:
        return sum(count.open for purpose, count in store.counts().items() if purpose in QUEUE)


def _what_is_left(run: Path, cast: dict[str, Command]) -> str:
    """What hinders the owner of a run that has ended; nothing, if all is well."""
    directory = RunDirectory(run)
    try:
        directory.read_metrics()
        with directory.claimed():
            pass
    except ValueError as error:
        return str(error)
    for name in ("server", "window"):
        status = cast[name].stop()
        if status != 0:
            return f"the {name} stopped with status {status}: {cast[name].last_words}"
    return ""


def _compared(
    run: Path, over_http: list[dict[int, tuple[int, str]]], in_window: list[int], window_annotator: str
) -> tuple[int, int, int]:
    """How many acknowledged answers are not stored, how many are stored too often, and how many queries overlap."""
    if not _is_store(run):
        return sum(len(each) for each in over_http) + len(in_window), 0, 0
    with PreferenceStore.open(RunDirectory(run).store_path) as store:
        stored = store.live_answers()
    known = {live.answer_id: (live.query_id, live.annotator) for live in stored}
    told = {id: (query, name) for each in over_http for id, (query, name) in each.items()}
    by_window = [live.query_id for live in stored if live.annotator == window_annotator]
    lost = sum(known.get(id) != answer for id, answer in told.items()) + len(set(in_window) - set(by_window))
    by_person = Counter(known.values())
    often = len(stored) - len(by_person)
    overlapping = sum(count > 1 for count in Counter(query for query, _ in by_person).values())
    untold = sum(name != window_annotator and id not in told for id, (_, name) in known.items())
    return lost, often + untold, overlapping
