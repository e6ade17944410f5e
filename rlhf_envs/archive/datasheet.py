"""DATASHEET.md and README.md: what a person, and a library, should know before using an archive.

The questions of the datasheet are those of Gebru et al. 2018, Datasheets for Datasets (arXiv 1803.09010), shortened.
The texts are in the templates `datasheet.md` and `card.md`, and say what people have to add.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

import rlhf_envs
from rlhf_envs.archive.manifest import Manifest
from rlhf_envs.archive.records import QueryRecord
from rlhf_envs.environment import StoredEnvironment
from rlhf_envs.queries import Answer, Purpose
from rlhf_envs.templates import render

_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
"""How Hugging Face writes how large a data set is, by the first number of rows that is too many."""


@dataclass
class Statistics:
    """What an archive holds, counted while it is written, in a few bytes for each answer.

    Attributes:
        taken_back: the ids of answers that later rows undo.
        queries: of each kind and purpose.
        standing: answers that were not undone, of each kind and purpose.
        choices: standing answers of each kind and choice; those without a choice count as "answered".
        annotators: standing answers of each annotator.
        rows, undone: rows of answers, and how many of them undo another one.
        reasons: how often each reason was given in standing answers.
        times: when answers were given, seconds since the epoch.
        segments, steps: how many, and their steps together.
        clips: films that were made.
        not_shown: segments that hold neither states nor frames, so that there is no clip of them.
    """

    taken_back: Collection[int] = ()
    queries: Counter[tuple[str, Purpose]] = field(default_factory=Counter)
    standing: Counter[tuple[str, Purpose]] = field(default_factory=Counter)
    choices: Counter[tuple[str, str]] = field(default_factory=Counter)
    annotators: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    undone: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    times: array[float] = field(default_factory=lambda: array("d"))
    segments: int = 0
    steps: int = 0
    clips: int = 0
    not_shown: int = 0
    _asked: dict[int, tuple[str, Purpose]] = field(default_factory=dict)
    _answered: set[int] = field(default_factory=set)
    _seconds: array[float] = field(default_factory=lambda: array("d"))

    def add_query(self, query: QueryRecord) -> None:
        """Count a query."""
        self._asked[query.id] = (query.kind, query.purpose)
        self.queries[query.kind, query.purpose] += 1

    def add_answer(self, answer: Answer) -> None:
        """Count an answer, or an undo. Raises `ValueError` if its query was not counted before."""
        self.rows += 1
        if answer.answered_at is not None:
            self.times.append(answer.answered_at)
        if answer.query_id not in self._asked:
            raise ValueError(f"Answer {answer.id} is to query {answer.query_id}, which is not there to be exported.")
        if answer.undoes is not None:
            self.undone += 1
        elif answer.id not in self.taken_back:
            self._count(answer)

    @property
    def unanswered(self) -> int:
        """Queries that have no standing answer."""
        return len(self._asked) - len(self._answered)

    @property
    def seconds_per_answer(self) -> float | None:
        """Median time from seeing to answering; what took over a minute counts as a pause. None if none is known."""
        return float(np.median(self._seconds)) if self._seconds else None

    def choice_shares(self) -> list[tuple[str, str, int, float]]:
        """(kind, choice, how many standing answers, their share of those of the kind), without those never given."""
        of_kind: Counter[str] = Counter()
        for (kind, _), count in self.choices.items():
            of_kind[kind] += count
        return [
            (kind, choice, count, count / of_kind[kind])
            for (kind, choice), count in sorted(self.choices.items())
            if count
        ]

    def counts(self) -> dict[str, int]:
        """The plain numbers, for the manifest."""
        return {
            "queries": sum(self.queries.values()),
            "answer_rows": self.rows,
            "undone": self.undone,
            "standing_answers": sum(self.standing.values()),
            "annotators": sum(count > 0 for count in self.annotators.values()),
            "segments": self.segments,
            "steps": self.steps,
            "clips": self.clips,
        }

    def _count(self, answer: Answer) -> None:
        asked = self._asked[answer.query_id]
        self.standing[asked] += 1
        self.choices[asked[0], "answered" if answer.choice is None else answer.choice.value] += 1
        self.annotators[answer.annotator] += 1
        self.reasons.update(answer.reasons)
        self._answered.add(answer.query_id)
        if answer.seconds is not None:
            self._seconds.append(answer.seconds)


def datasheet(manifest: Manifest, statistics: Statistics) -> str:
    """The datasheet of an archive, Markdown."""
    times = statistics.times
    return render(
        "rlhf_envs.archive",
        "datasheet.md",
        manifest=manifest,
        statistics=statistics,
        counts=statistics.counts(),
        reasons=[(_cell(reason), count) for reason, count in statistics.reasons.most_common() if count],
        annotators=[(_cell(name), count) for name, count in statistics.annotators.items()],
        first_answer=_minute(min(times)) if times else None,
        last_answer=_minute(max(times)) if times else None,
        seconds=statistics.seconds_per_answer,
    )


def dataset_card(
    environment: StoredEnvironment, configs: Mapping[str, Mapping[str, str]], answers: int, pairs: bool = False
) -> str:
    """README.md of a data set: a card with a YAML header, by which Hugging Face's `datasets` finds the tables.

    Args:
        environment: what the data are about.
        configs: the path of each split, by configuration; the first one is the default.
        answers: how many there are.
        pairs: whether they are labelled pairs, or everything that was asked and answered.
    """
    size = next((name for limit, name in _SIZES.items() if answers < limit), "1M<n<10M")
    return render(
        "rlhf_envs.archive",
        "card.md",
        environment=environment.id,
        configs=configs,
        answers=answers,
        pairs=pairs,
        size=size,
        version=rlhf_envs.__version__,
    )


def _cell(text: str) -> str:
    """Text as a cell of a Markdown table, whatever markup somebody wrote into it."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
