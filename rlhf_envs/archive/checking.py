"""Whether the rows of a source fit each other, found out before anything of them is stored."""

from __future__ import annotations

from collections.abc import Mapping

from rlhf_envs.archive.rows import AnswerRow, QueryRow, Rows, repeats
from rlhf_envs.feedback.payloads import parse_ranking, parse_ratings
from rlhf_envs.queries import LONGEST_RANKING, Choice, Kind


def check_rows(rows: Rows) -> None:
    """Read a source from end to end.

    Raises:
        ValueError: if something in it makes no sense; the message names the row.
    """
    lengths = {id: len(segment) for id, segment in rows.segments()}
    queries: dict[int, QueryRow] = {}
    keys: set[str] = set()
    try:
        for query in rows.queries():
            _check_query(query, queries, keys, lengths)
            queries[query.id] = query
            keys.add(query.key)
        _check_answers(rows, queries, lengths)
    except _MisfitError as misfit:
        raise ValueError(f"{rows.place} cannot be imported, because {misfit}.") from misfit


class _MisfitError(Exception):
    """What does not fit, as the end of a sentence."""


def _check_query(query: QueryRow, earlier: dict[int, QueryRow], keys: set[str], lengths: dict[int, int]) -> None:
    shown = len(query.segments)
    fits = {Kind.COMPARISON: shown == 2, Kind.RANKING: 2 <= shown <= LONGEST_RANKING, Kind.RATING: shown == 1}[
        query.kind
    ]
    if not fits:
        raise _MisfitError(f"query {query.id}, a {query.kind}, shows {shown} segments")
    for segment in query.segments:
        if segment not in lengths:
            raise _MisfitError(f"query {query.id} shows segment {segment}, which is not there")
    if query.id in earlier or query.key in keys or not query.key:
        raise _MisfitError(f"the id {query.id} or the key {query.key!r} does not name one query alone")
    if query.round < 0 or query.wanted < 1 or query.only_for == "":
        raise _MisfitError(
            f"query {query.id} is of round {query.round}, wants {query.wanted} answers and is for {query.only_for!r}"
        )
    repeated = repeats(query)
    if repeated is not None and repeated not in earlier:
        raise _MisfitError(f"query {query.id} repeats query {repeated}, which does not come before it")


def _check_answers(rows: Rows, queries: Mapping[int, QueryRow], lengths: Mapping[int, int]) -> None:
    earlier: dict[int, tuple[int, str]] = {}
    standing: set[tuple[int, str]] = set()
    undone: set[int] = set()
    tokens: set[str] = set()
    for answer in rows.answers():
        who_and_what = (answer.query, answer.annotator)
        if answer.id in earlier or answer.token == "" or answer.token in tokens:
            raise _MisfitError(f"the id {answer.id} or the token {answer.token!r} does not name one answer alone")
        if answer.query not in queries or not answer.annotator.strip():
            raise _MisfitError(f"answer {answer.id} is {answer.annotator!r}'s to query {answer.query}, which is not so")
        if answer.undoes is None:
            _check_says_something(answer, queries[answer.query], lengths)
            if who_and_what in standing:
                raise _MisfitError(f"answer {answer.id} is {answer.annotator}'s second one to query {answer.query}")
            standing.add(who_and_what)
        else:
            if earlier.get(answer.undoes) != who_and_what or answer.undoes in undone:
                raise _MisfitError(f"row {answer.id} takes back answer {answer.undoes}, which does not stand")
            standing.discard(who_and_what)
            undone |= {answer.undoes, answer.id}
        earlier[answer.id] = who_and_what
        if answer.token is not None:
            tokens.add(answer.token)


def _check_says_something(answer: AnswerRow, query: QueryRow, lengths: Mapping[int, int]) -> None:
    if query.kind is Kind.COMPARISON:
        if answer.choice is None:
            raise _MisfitError(f"answer {answer.id} says nothing to a comparison")
    elif answer.choice is not Choice.SKIP:
        if answer.choice is not None:
            raise _MisfitError(f"answer {answer.id} says {answer.choice} to a {query.kind}")
        try:
            if query.kind is Kind.RANKING:
                parse_ranking(answer.payload, len(query.segments))
            else:
                parse_ratings(answer.payload, lengths[query.segments[0]])
        except ValueError as error:
            raise _MisfitError(f"answer {answer.id} is none to a {query.kind} ({str(error).rstrip('.')})") from error
