"""A1, A2, ... in place of people's names, wherever a row may hold one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rlhf_envs.archive.rows import AnswerRow, QueryRow
from rlhf_envs.feedback.teacher import TEACHERS


class Pseudonyms:
    """Replaces names in queries and answers. Scripted teachers keep theirs: they are nobody, and what they are matters.

    Tokens of submissions are left out, because whoever made them may have put a name into them.

    Args:
        names: everybody who occurs; the first becomes A1.
    """

    def __init__(self, names: Iterable[str]) -> None:
        people = [name for name in dict.fromkeys(names) if name not in TEACHERS]
        self._aliases = {name: f"A{number}" for number, name in enumerate(people, start=1)}
        # A name may be part of another one, so the longest are looked for first.
        names_in_key = "|".join(re.escape(name) for name in sorted(people, key=len, reverse=True))
        self._in_keys = re.compile(f"(?<=/)({names_in_key})(?=/)")

    def query(self, row: QueryRow) -> QueryRow:
        """A query without names: neither in its context, nor in its key, nor in whom it is for."""
        only_for = None if row.only_for is None else self._alias(row.only_for)
        return replace(row, key=self._in_key(row.key), context=self._in_json(row.context), only_for=only_for)

    def answer(self, row: AnswerRow) -> AnswerRow:
        """An answer without names."""
        return replace(row, annotator=self._alias(row.annotator), payload=self._in_json(row.payload), token=None)

    def _alias(self, name: str) -> str:
        return self._aliases.get(name, name)

    def _in_key(self, key: str) -> str:
        # Names stand between slashes there, as in "check/NAME/12".
        return self._in_keys.sub(lambda found: self._alias(found[1]), f"/{key}/")[1:-1]

    def _in_json(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self._alias(name): self._in_json(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self._in_json(part) for part in value]
        return self._alias(value) if isinstance(value, str) else value
