"""Whether an answer is lost when processes are killed while annotators answer, and what attacks achieve."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rlhf_envs.feedback import PreferenceStore, StoreError
from rlhf_envs.feedback.store import QUEUE
from rlhf_envs.runs import RunDirectory
from scripts.benchmarks import Log, markdown_table, require_positive
from scripts.benchmarks.attacks import attack_by_floods, attack_files, attack_over_http
from scripts.benchmarks.robustness_processes import Server, SubProcess, Trainer, WebAnnotator, Window

VICTIMS = ("trainer", "server", "window")

_WEB_ANNOTATORS = ("ann", "bob")
_LATEST = 0.8
_LONGEST_PAUSE = 1.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Robustness:
    """Kill processes at random moments while annotators answer and count lost answers; then attack files and the page.

    Each round is a small training run that two annotators answer over HTTP and one in a window, which is a process of
    its own, like the trainer and the server. These three, in turn, are ended by SIGKILL after a random number of
    answers and a random part of a second, and restarted as a person would restart them. Then the round goes on to its
    end.

    Attributes:
        rounds: training runs.
        kills: in each of them.
        answers: asked in each of them, the practice of its annotators included.
        seed: of the moments, and of what is damaged.
        seconds: time limit of a round.
        stores, folders, archives: how many damaged or forged copies of a store, of a run's folder and of an archive are
            used in every way.
        requests: generated ones that are sent to the page by HTTP.
        friendly: requests of a friendly client under each flood of connections.
    """

    name: ClassVar[str] = "robustness"
    rounds: int = 4
    kills: int = 5
    answers: int = 74
    seed: int = 0
    seconds: float = 900.0
    stores: int = 500
    folders: int = 500
    archives: int = 200
    requests: int = 20_000
    friendly: int = 200

    def __post_init__(self) -> None:
        require_positive(self, "kills", "answers")
        for name in ("rounds", "stores", "folders", "archives", "requests", "friendly"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}.")

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """The figures of each round, and of each attack."""
        generator = np.random.default_rng(self.seed)
        found = []
        for number in range(self.rounds):
            latest = max(round(_LATEST * self.answers), 1)
            moments = zip(sorted(generator.integers(0, latest, self.kills)), generator.random(self.kills), strict=True)
            kills = [
                Kill(VICTIMS[(number * self.kills + turn) % len(VICTIMS)], int(after), float(pause * _LONGEST_PAUSE))
                for turn, (after, pause) in enumerate(moments)
            ]
            figures = disturbed_round(_new_folder(out / self.name, number), kills, self.answers, self.seconds)
            log(
                f"round {number + 1}: {len(figures.killed)} kills, {figures.acknowledged} answers acknowledged, "
                f"{figures.lost} lost, {figures.doubled} doubled, {figures.seconds:.0f} s"
                + (f"; {figures.failure}" if figures.failure else "")
            )
            found.append(asdict(figures))
        folder = out / self.name
        attacks = [
            *attack_by_floods(folder, self.friendly, log),
            *attack_files(folder, self.stores, self.folders, self.archives, self.seed, log),
            *attack_over_http(folder, self.requests, log),
        ]
        return {"rounds": found, "attacks": [asdict(attack) for attack in attacks]}

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row for the kills, and one for each attack."""
        attacks = [
            {
                "attack": attack["name"],
                "tried": f"{attack['tried']:,}",
                "failed": f"{attack['failed']:,}",
                "": attack["note"],
            }
            for attack in measured["attacks"]
        ]
        kills = [Robustness._kills(measured["rounds"])] if measured["rounds"] else []
        return "\n\n".join(markdown_table(rows) for rows in (kills, attacks) if rows)

    @staticmethod
    def _kills(rounds: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        killed = Counter(victim for each in rounds for victim in each["killed"])
        names = {"acknowledged": "acknowledged answers", "overlapping": "answered by two"}
        row = {f"kills of the {victim}": str(killed[victim]) for victim in VICTIMS}
        for name in ("acknowledged", "lost", "doubled", "overlapping"):
            row[names.get(name, name)] = f"{sum(each[name] for each in rounds):,}"
        row["runs that ended"] = f"{sum(not each['failure'] for each in rounds)} of {len(rounds)}"
        return row


@dataclass(frozen=True)
class Kill:
    """Which process is killed, and when.

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
    """The figures of one round.

    Attributes:
        killed: the processes that were, in this order; one that had ended already is left out.
        acknowledged: answers that were acknowledged as stored.
        lost: those of them that are not in the store as they were given.
        doubled: answers in the store beyond the first of an annotator to a query, or over HTTP without acknowledgement.
        overlapping: queries that several annotators answered where one was wanted. That is correct where one was given
            what the other's screen held ahead and came to at the same moment, or where one was disconnected for longer
            than a lease lasts and answers after all: no answer is thrown away.
        failure: why the round did not come to its end; empty if it did.
        seconds: that it took.
    """

    killed: list[str]
    acknowledged: int
    lost: int
    doubled: int
    overlapping: int
    failure: str
    seconds: float


def disturbed_round(folder: Path, kills: Sequence[Kill], answers: int, seconds: float) -> RoundFigures:
    """One training run that annotators answer, with some kills in it.

    Args:
        folder: for the run and for the output of the processes; it must exist.
        kills: in the order in which they happen.
        answers: of the run.
        seconds: time limit.
    """
    began = time.monotonic()
    run = folder / "run"
    trainer, server, window = Trainer(run, answers), Server(run, _WEB_ANNOTATORS), Window(run, "cyd")
    processes: dict[str, SubProcess] = dict(zip(VICTIMS, (trainer, server, window), strict=True))
    annotators = [WebAnnotator(name, server) for name in _WEB_ANNOTATORS]
    failure, killed = "", []

    def wait_until(condition: Callable[[], bool], awaited: str) -> None:
        """Return when the condition holds; `TimeoutError` if it does not in time, or a process has failed."""
        while not condition():
            for name, process in processes.items():
                if process.failed:
                    raise TimeoutError(f"while waiting for {awaited}, the {name} ended: {process.last_line}")
            for annotator in annotators:
                if annotator.refusal:
                    raise TimeoutError(f"while waiting for {awaited}, {annotator.refusal}")
            if time.monotonic() > began + seconds:
                raise TimeoutError(f"waited too long for {awaited}")
            time.sleep(_POLL_SECONDS)

    def answered(least: int) -> bool:
        return trainer.ended or sum(annotator.queued for annotator in annotators) + len(window.acknowledged()) >= least

    with ExitStack() as cleanup:
        for process in processes.values():
            cleanup.callback(process.kill)
        for annotator in annotators:
            cleanup.callback(annotator.stop)
        try:
            trainer.start()
            wait_until(lambda: _is_store(run), "the run to make its store")
            server.start()
            window.start()
            for annotator in annotators:
                annotator.start()
            for kill in kills:
                wait_until(partial(answered, kill.after), "the answers before a kill")
                time.sleep(kill.pause)
                if processes[kill.victim].kill():
                    processes[kill.victim].start()
                    killed.append(kill.victim)
            wait_until(lambda: trainer.ended, "training to end")
            wait_until(lambda: _open_queries(run) == 0, "the last answers")
            # Every answer that was sent is acknowledged or refused before the server stops.
            for annotator in annotators:
                annotator.stop()
            failure = _problem_after_end(run, processes)
        except TimeoutError as timeout:
            failure = str(timeout)
    over_http = {id: answer for annotator in annotators for id, answer in annotator.acknowledged.items()}
    in_window = window.acknowledged()
    counted = count_lost_and_doubled(run, over_http, in_window, window.annotator)
    return RoundFigures(killed, len(over_http) + len(in_window), *counted, failure, round(time.monotonic() - began, 1))


def _new_folder(parent: Path, number: int) -> Path:
    """A new folder; those of an earlier measurement stay as they are."""
    names = (f"round-{number + 1}" + (f"-{attempt + 1}" if attempt else "") for attempt in count())
    folder = next(folder for name in names if not (folder := parent / name).exists())
    folder.mkdir(parents=True)
    return folder


def _is_store(run: Path) -> bool:
    try:
        PreferenceStore.open(RunDirectory(run).store_path).close()
    except StoreError:
        return False
    return True


def _open_queries(run: Path) -> int:
    with PreferenceStore.open(RunDirectory(run).store_path) as store:
        return sum(count.open for purpose, count in store.counts().items() if purpose in QUEUE)


def _problem_after_end(run: Path, processes: dict[str, SubProcess]) -> str:
    """What is wrong after a run has ended; empty if nothing is."""
    directory = RunDirectory(run)
    try:
        directory.read_metrics()
        with directory.locked():
            pass
    except ValueError as error:
        return str(error)
    for name in ("server", "window"):
        status = processes[name].stop()
        if status != 0:
            return f"the {name} stopped with status {status}: {processes[name].last_line}"
    return ""


def count_lost_and_doubled(
    run: Path, over_http: Mapping[int, tuple[int, str]], in_window: Sequence[int], window_annotator: str
) -> tuple[int, int, int]:
    """How many acknowledged answers are not stored, how many are stored too often, and how many queries overlap.

    Args:
        run: the folder of the run.
        over_http: the acknowledged answers: by their id, the query and the annotator.
        in_window: the queries whose answers the window was acknowledged.
        window_annotator: the window's annotator.
    """
    if not _is_store(run):
        return len(over_http) + len(in_window), 0, 0
    with PreferenceStore.open(RunDirectory(run).store_path) as store:
        stored = {live.id: (live.query_id, live.annotator) for live in store.live_answers()}
    by_window = {query for query, name in stored.values() if name == window_annotator}
    lost = sum(stored.get(id) != answer for id, answer in over_http.items()) + len(set(in_window) - by_window)
    authors = set(stored.values())
    overlapping = sum(count > 1 for count in Counter(query for query, _ in authors).values())
    unacknowledged = sum(name != window_annotator and id not in over_http for id, (_, name) in stored.items())
    return lost, len(stored) - len(authors) + unacknowledged, overlapping
