"""What a finished run measures, one thing after another, of which each may fail without the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

Found = TypeVar("Found")


class Measurements:
    """Takes measurements of a finished run, and goes on where one fails.

    By then hours of training and of people's answers may be over. What remains is done by an environment and a policy
    of which nothing is known: whatever they raise must not cost the run its results.

    Args:
        missing: what could not be measured before.

    Attributes:
        missing: what could not be measured, by name, and why, in a sentence.
    """

    def __init__(self, missing: Mapping[str, str] | None = None) -> None:
        self.missing = dict(missing or {})

    def take(self, what: str, measure: Callable[[], Found]) -> Found | None:
        """What `measure` returns; None where it fails, and `missing` has the reason.

        Args:
            what: the name of what is measured, such as "the policy's return".
            measure: measures it.
        """
        self.missing.pop(what, None)
        try:
            return measure()
        except Exception as error:
            reason = " ".join(str(error).split()) or "it gave no reason"
            # Errors of this package are sentences for people; others mean little without their type.
            ours = isinstance(error, ValueError) or type(error).__module__.startswith("rlhf_envs.")
            self.missing[what] = reason if ours else f"{type(error).__name__}: {reason}"
            return None

    def sentences(self) -> list[str]:
        """One sentence for each that is missing."""
        return [f"{what[:1].upper()}{what[1:]} is missing: {why.rstrip('.')}." for what, why in self.missing.items()]
