"""How the feedback store bears a million answers: taking a query, the dashboard, the export."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from sqlalchemy import Connection as Transaction
from sqlalchemy import insert, select, text

from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.store import QUEUE
from rlhf_envs.feedback.store.asking import add_rows, store_shown
from rlhf_envs.feedback.store.schema import ENDED, leases, queries, segments
from rlhf_envs.feedback.store.tallies import add_answers
from scripts.benchmarks import Log, markdown_table, require_positive
from scripts.benchmarks.labelling import ENVIRONMENT, ask

_SEGMENTS_FROM = 16
_PER_TRANSACTION = 10_000
_FIRST_TIME = 1.7e9
_SIDES = ("left", "right", "left", "right", "left", "right", "left", "right", "tie", "skip")
_DILIGENT = "has answered half"
_ROOT = Path(__file__).resolve().parents[2]
_EXPORT = """
import sys
from rlhf_envs.archive import export_store
export_store(sys.argv[1], sys.argv[2], clips=False)
"""
_REPORT = """
import sys
from rlhf_envs.feedback import PreferenceStore
from rlhf_envs.feedback.quality import quality_report
with PreferenceStore.open(sys.argv[1]) as store:
    quality_report(store.each_live_answer())
"""

# Linux counts what the process that started this one used as well, but for the high-water mark of its own memory.
_PEAK = """
import resource
try:
    with open("/proc/self/status") as status:
        print([int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")][0])
except OSError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Scale:
    """Fill a store with many answers, and measure what people wait for.

    Queries want more answers than they have, so that all of them are open, which is the hardest case for taking. They
    have a few segments between them. Besides the annotators there is one who has answered the older half.

    Attributes:
        queries: comparisons that were asked.
        answers: answers of all annotators together.
        annotators: how many gave them.
        takes: how often a query is taken, each time by another annotator and with all leases given up before.
        store: SQLAlchemy URL of an empty database, such as PostgreSQL's; by default an SQLite file.
    """

    name: ClassVar[str] = "scale"
    queries: int = 100_000
    answers: int = 1_000_000
    annotators: int = 200
    takes: int = 200
    store: str | None = None

    def __post_init__(self) -> None:
        require_positive(self, "queries", "answers", "annotators", "takes")
        each, left_over = divmod(self.answers, self.queries)
        if self.queries < _SEGMENTS_FROM or left_over or self.annotators < each:
            raise ValueError(
                f"Every query gets as many answers, each by another annotator: answers must be a multiple of queries, "
                f"at least {_SEGMENTS_FROM}, and annotators at least as many as a query has answers."
            )

    def measure(self, out: Path, log: Log) -> dict[str, Any]:
        """Fill the store, take, read the dashboard, and export in a process of its own.

        Returns:
            The milliseconds of each take, of the first and the later takes of the annotator who has answered half; the
            seconds of the dashboard, and those of the export and the quality report with the most memory that their
            processes take, in MB.
        """
        from rlhf_envs.feedback.web.dashboard import OverviewCache, read_asked

        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out) as folder:
            place = self.store or str(Path(folder, "feedback.db"))
            with PreferenceStore.create(place, ENVIRONMENT) as store:
                log(f"filling {place} with {self.answers:,} answers to {self.queries:,} queries")
                started = time.perf_counter()
                self._fill(store)
                filled = time.perf_counter() - started
                log(f"filled in {filled:.0f} s; taking")
                takes = [_taking(store, f"annotator {number % self.annotators}") for number in range(self.takes)]
                diligent = [_taking(store, _DILIGENT) for _ in range(20)]
                log("reading the dashboard")
                dashboard = _seconds(OverviewCache(store, QUEUE).read) + _seconds(lambda: read_asked(store, QUEUE))
            log("exporting")
            exported = _in_process(_EXPORT, place, str(Path(folder, "exported")))
            log("reporting")
            report = _in_process(_REPORT, place)
        return {
            "database": "PostgreSQL" if place.startswith("postgresql") else "SQLite",
            "fill_seconds": round(filled, 1),
            "take_milliseconds": takes,
            "diligent_milliseconds": diligent,
            "dashboard_seconds": round(dashboard, 3),
            "export_seconds": exported[0],
            "export_megabytes": exported[1],
            "report_seconds": report[0],
            "report_megabytes": report[1],
        }

    @staticmethod
    def table(measured: dict[str, Any]) -> str:
        """One row."""
        takes, diligent = np.array(measured["take_milliseconds"]), measured["diligent_milliseconds"]
        row = {
            "store": measured["database"],
            "ms to take a query, median": f"{np.median(takes):.1f}",
            "95%": f"{np.percentile(takes, 95):.1f}",
            "of who has answered half: first, later": f"{diligent[0]:.0f}, {np.median(diligent[1:]):.1f}",
            "s, dashboard": f"{measured['dashboard_seconds']:.2f}",
            "s, export": f"{measured['export_seconds']:.0f}",
            "MB, export": f"{measured['export_megabytes']:,.0f}",
            "s, quality report": f"{measured['report_seconds']:.0f}",
            "MB, quality report": f"{measured['report_megabytes']:,.0f}",
        }
        return markdown_table([row])

    def _fill(self, store: PreferenceStore) -> None:
        ask(store, _SEGMENTS_FROM)
        each = self.answers // self.queries
        for first in range(_SEGMENTS_FROM, self.queries, _PER_TRANSACTION):
            store.database.write(_add_queries, range(first, min(first + _PER_TRANSACTION, self.queries)), each + 2)
        rng = np.random.default_rng(0)
        per_transaction = max(_PER_TRANSACTION // each, 1)
        for first in range(0, self.queries, per_transaction):
            asked = range(first + 1, min(first + per_transaction, self.queries) + 1)
            names = [
                (query, f"annotator {(query * each + place) % self.annotators}")
                for query in asked
                for place in range(each)
            ]
            store.database.write(_add_answers, names, rng)
        for first in range(0, self.queries // 2, _PER_TRANSACTION):
            asked = range(first + 1, min(first + _PER_TRANSACTION, self.queries // 2) + 1)
            store.database.write(_add_answers, [(query, _DILIGENT) for query in asked], rng)
        # A server counts rows for its planner by itself, but not within the seconds after a bulk insert.
        store.database.write(lambda transaction: transaction.execute(text("ANALYZE")))


def _add_queries(transaction: Transaction, numbers: range, wanted: int) -> None:
    ids = transaction.execute(select(segments.c.id)).scalars().all()
    rows: list[dict[str, Any]] = [
        {
            "key": f"scale/{number}",
            "round": number // 100,
            "kind": "comparison",
            "purpose": "test" if number % 6 == 0 else "train",
            "context": {},
            "wanted": wanted,
            "created_at": _FIRST_TIME,
            "only_for": None,
        }
        for number in numbers
    ]
    added = add_rows(transaction, queries, rows)
    shown = ((ids[number % len(ids)], ids[(number // len(ids) + number + 1) % len(ids)]) for number in numbers)
    store_shown(transaction, dict(zip(added, shown, strict=True)))


def _add_answers(transaction: Transaction, given: list[tuple[int, str]], rng: np.random.Generator) -> None:
    said, moments = rng.integers(len(_SIDES), size=len(given)), rng.uniform(1.0, 5.0, len(given))
    rows: list[dict[str, Any]] = [
        {
            "query_id": query,
            "annotator": name,
            "choice": _SIDES[choice],
            "undoes": None,
            "reasons": [],
            "shown_at": _FIRST_TIME + query,
            "answered_at": _FIRST_TIME + query + seconds,
            "payload": None,
            "token": f"{query}/{name}",
        }
        for (query, name), choice, seconds in zip(given, said, moments, strict=True)
    ]
    add_answers(transaction, rows)
    held = [{"query_id": query, "annotator": name, "expires_at": ENDED} for query, name in given]
    transaction.execute(insert(leases), held)


def _taking(store: PreferenceStore, annotator: str) -> float:
    """Milliseconds to take a query that the annotator does not hold yet."""
    started = time.perf_counter()
    query = store.take(annotator)
    taken = time.perf_counter() - started
    if query is None:
        raise RuntimeError(f"There was nothing to take for {annotator}, although all queries are open.")
    store.release(annotator)
    return round(1000 * taken, 3)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _in_process(code: str, *arguments: str) -> tuple[float, float]:
    """Seconds of some code in a process of its own, and the most memory that this takes, in MB."""
    started = time.perf_counter()
    process = subprocess.run([sys.executable, "-c", code + _PEAK, *arguments], cwd=_ROOT, stdout=subprocess.PIPE)
    if process.returncode:
        raise RuntimeError(f"A process that measures ended with status {process.returncode}.")
    return round(time.perf_counter() - started, 1), round(int(process.stdout.split()[-1]) / 1e6)
