"""DATASHEET.md: what a person should know before using an archive.

The questions are those of Gebru et al. 2018, Datasheets for Datasets (arXiv 1803.09010), shortened to what can be
counted here. What nobody can count, people have to add; the datasheet says where.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from rlhf_envs.archive.manifest import ANSWERS, CLIPS, QUERIES, SEGMENTS, Manifest
from rlhf_envs.archive.statistics import Statistics


def datasheet(manifest: Manifest, statistics: Statistics) -> str:
    """The datasheet of an archive, Markdown."""
    environment = manifest.environment
    parts = [
        f"# Datasheet: people's judgement of {environment.get('id', 'an environment')}",
        f"Made by rlhf-envs {manifest.versions.get('rlhf-envs', '')} on {manifest.made_at}.",
        "## Motivation",
        "Answers about short segments of behaviour, from which a reward model can be learned. "
        "*Add: why they were collected, by whom, and who paid for it.*",
        "## Composition",
        _about(environment),
        _table(("file", "rows", "one row is"), _files(statistics)),
        "### Queries and standing answers of each kind and purpose",
        _table(
            ("kind", "purpose", "queries", "standing answers"),
            [
                (kind, purpose, count, statistics.standing[kind, purpose])
                for (kind, purpose), count in statistics.queries.items()
            ],
        ),
        "### Choices",
        _table(
            ("kind", "choice", "answers", "share"),
            [
                (kind, choice, count, f"{count / max(_of_kind(statistics, kind), 1):.1%}")
                for (kind, choice), count in sorted(statistics.choices.items())
                if count
            ],
        ),
        *_reasons(statistics),
        "## People",
        _names(manifest),
        _table(
            ("annotator", "standing answers"),
            [(_escaped(name), count) for name, count in statistics.annotators.items()],
        ),
        "*Add: who they are, what they were told and paid, and what they agreed to.*",
        "## Collection",
        _collected(statistics),
        "## Known gaps",
        "\n".join(f"- {gap}" for gap in _gaps(manifest, statistics)),
        "## Uses, distribution, maintenance",
        "True rewards are in the segments for evaluation: a reward model that is trained on them learns nothing from "
        "people. *Add: licence, contact, and what these data should not be used for.*",
    ]
    return "\n\n".join(parts) + "\n"


def _about(environment: Mapping[str, Any]) -> str:
    return f"The environment, as the store describes it: `{json.dumps(environment)}`."


def _files(statistics: Statistics) -> list[tuple[Any, ...]]:
    counts = statistics.counts()
    return [
        (f"`{QUERIES}`", counts["queries"], "a question about one or more segments"),
        (f"`{ANSWERS}`", counts["answer_rows"], "an answer, or that one was taken back"),
        (f"`{SEGMENTS}`", counts["segments"], f"a stretch of one episode ({counts['steps']:,} steps together)"),
        (f"`{CLIPS}/`", counts["clips"], "a segment as people saw it, H.264"),
    ]


def _of_kind(statistics: Statistics, kind: str) -> int:
    return sum(count for (of_kind, _), count in statistics.choices.items() if of_kind == kind)


def _reasons(statistics: Statistics) -> list[str]:
    given = [(_escaped(reason), count) for reason, count in statistics.reasons.most_common() if count]
    return ["### Reasons", _table(("reason", "times given"), given)] if given else []


def _names(manifest: Manifest) -> str:
    if manifest.pseudonyms:
        return (
            "People's names were replaced by A1, A2, ...; scripted teachers keep theirs. Times of answers are exact, "
            "and may tell somebody who was there who is who."
        )
    return "Annotators are named as they named themselves; scripted teachers go by the name of their kind."


def _collected(statistics: Statistics) -> str:
    sentences = [
        "Queries were asked by a training run, or by hand, through a feedback store; annotators saw the segments as "
        "short films, or were scripted teachers that read the true reward."
    ]
    if statistics.first is not None and statistics.last is not None:
        sentences.append(f"Answers were given from {_time(statistics.first)} to {_time(statistics.last)} (UTC).")
    seconds = statistics.seconds_per_answer
    if seconds is not None:
        sentences.append(f"Half of them took less than {seconds:.1f} s, pauses of over a minute left out.")
    return " ".join(sentences)


def _gaps(manifest: Manifest, statistics: Statistics) -> Iterable[str]:
    yield f"{statistics.unanswered} of {sum(statistics.queries.values())} queries have no standing answer."
    yield f"{statistics.undone} answers were taken back; they are in the table like the rows that take them back."
    if statistics.not_shown:
        yield f"{statistics.not_shown} segments were recorded with neither states nor frames, so they cannot be shown."
    if statistics.clips < statistics.segments:
        yield f"{statistics.segments - statistics.clips} of {statistics.segments} segments have no clip here."
    if manifest.observation_space is None:
        yield "The environment could not be made, so its observation and action spaces are not known."
    yield "Why somebody skipped a query is not recorded."


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
