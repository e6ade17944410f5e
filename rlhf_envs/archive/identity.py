"""How a query and an answer are known again in another store, where they have other numbers.

A query is the same when it was asked at the same moment, under the same key, about the same segments. In a store with
queries of its own it goes by "import/FINGERPRINT/KEY", as its key may be taken there or be asked for by a run one day.
So importing twice, or importing a later export of the same store, finds what is there already, and no import needs a
name of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from rlhf_envs.archive.rows import AnswerRow

_PREFIX = "import"


def fingerprint(key: str, kind: str, purpose: str, created_at: float, digests: Sequence[str]) -> tuple[str, str]:
    """The key under which a query was asked first, and 16 hex digits that stand for the query.

    Args:
        key: its key where it comes from, perhaps an import itself.
        kind, purpose, created_at: of the query.
        digests: under which the store keeps its segments, in screen order.
    """
    prefix, _, rest = key.partition("/")
    mark, _, first_key = rest.partition("/")
    if prefix == _PREFIX and mark == _digest(first_key, kind, purpose, created_at, digests):
        return first_key, mark
    return key, _digest(key, kind, purpose, created_at, digests)


def marked(first_key: str, mark: str) -> str:
    """The key under which a query is imported into a store that has queries of its own."""
    return f"{_PREFIX}/{mark}/{first_key}"


def said(answer: AnswerRow) -> str:
    """What an answer says, apart from who gave it to which query: equal for copies of one row."""
    words = [
        answer.choice,
        answer.undoes is not None,
        answer.reasons,
        answer.shown_at,
        answer.answered_at,
        answer.payload,
    ]
    return json.dumps(words, sort_keys=True)


def _digest(*content: Any) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
