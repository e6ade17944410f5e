"""What an archive holds, counted while it is written."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field

from rlhf_envs.archive.rows import AnswerRow, QueryRow
from rlhf_envs.queries import Choice, Kind, Purpose

_LONGEST_ANSWER = 60.0


@dataclass
class Statistics:
    """Counts of queries, answers and segments.

    Attributes:
        queries: of each kind and purpose.
        standing: answers that were not taken back, of each kind and purpose.
        choices: standing answers of each kind and choice; those without a choice count as "answered".
        annotators: standing answers of each annotator.
        rows, undone: rows of answers, and how many of them take another one back.
        reasons: how often each reason was given in standing answers.
        first, last: when the earliest and the latest row was given, seconds since the epoch; None if not known.
        segments, steps: how many, and their steps together.
        clips: films that were made.
        not_shown: segments that hold neither states nor frames, so that there is no clip of them.
    """

    queries: Counter[tuple[Kind, Purpose]] = field(default_factory=Counter)
    standing: Counter[tuple[Kind, Purpose]] = field(default_factory=Counter)
    choices: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    annotators: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    undone: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: float | None = None
    last: float | None = None
    segments: int = 0
    steps: int = 0
    clips: int = 0
    not_shown: int = 0
    _asked: dict[int, tuple[Kind, Purpose]] = field(default_factory=dict)
    _given: dict[int, AnswerRow] = field(default_factory=dict)

    def add_query(self, row: QueryRow) -> None:
        """Count a query."""
        self._asked[row.id] = (row.kind, row.purpose)
        self.queries[row.kind, row.purpose] += 1

    def add_answer(self, row: AnswerRow) -> None:
        """Count an answer, whose query was counted before, or that another one was taken back."""
        self.rows += 1
        if row.answered_at is not None:
            self.first = row.answered_at if self.first is None else min(self.first, row.answered_at)
            self.last = row.answered_at if self.last is None else max(self.last, row.answered_at)
        if row.undoes is None:
            self._given[row.id] = row
            self._count(row, 1)
        else:
            self.undone += 1
            if row.undoes in self._given:
                self._count(self._given.pop(row.undoes), -1)

    @property
    def unanswered(self) -> int:
        """Queries to which no answer stands."""
        return len(self._asked) - len({row.query for row in self._given.values()})

    @property
    def seconds_per_answer(self) -> float | None:
        """Median time from seeing to answering; what took over a minute counts as a pause. None if none is known."""
        taken = [
            row.answered_at - row.shown_at
            for row in self._given.values()
            if row.shown_at is not None and row.answered_at is not None
        ]
        working = [seconds for seconds in taken if 0 <= seconds <= _LONGEST_ANSWER]
        return statistics.median(working) if working else None

    def counts(self) -> dict[str, int]:
        """The plain numbers, for the manifest."""
        return {
            "queries": sum(self.queries.values()),
            "answer_rows": self.rows,
            "undone": self.undone,
            "standing_answers": len(self._given),
            "annotators": sum(count > 0 for count in self.annotators.values()),
            "segments": self.segments,
            "steps": self.steps,
            "clips": self.clips,
        }

    def _count(self, row: AnswerRow, by: int) -> None:
        asked = self._asked[row.query]
        self.standing[asked] += by
        self.choices[asked[0], row.choice.value if isinstance(row.choice, Choice) else "answered"] += by
        self.annotators[row.annotator] += by
        for reason in row.reasons:
            self.reasons[reason] += by
