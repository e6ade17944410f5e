"""What "not taken back" means in SQL: the one definition that taking, answering and reading share."""

from __future__ import annotations

from sqlalchemy import ColumnElement, FromClause, and_, exists

from rlhf_envs.feedback.schema import answers


def is_live(answer: FromClause, as_of: int | None = None) -> ColumnElement[bool]:
    """Whether a row of `answers` (or of an alias of it) is an answer that no later row takes back.

    Args:
        answer: the table or alias that the row is from.
        as_of: look at the store as it was when the row of this id was its newest; None for as it is now.
    """
    undo = answers.alias()
    taken_back = undo.c.undoes == answer.c.id
    if as_of is None:
        return and_(answer.c.undoes.is_(None), ~exists().where(taken_back))
    return and_(answer.c.undoes.is_(None), answer.c.id <= as_of, ~exists().where(taken_back, undo.c.id <= as_of))
