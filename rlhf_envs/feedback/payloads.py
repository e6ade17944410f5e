"""What people say to rankings and ratings, as a payload of JSON. It may say other things besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def ranking_payload(best_first: Sequence[int]) -> dict[str, Any]:
    """The payload of a ranking: screen positions of all segments, counted from 0, the best one first."""
    return {"ranking": [int(position) for position in best_first]}


def rating_payload(ratings: Sequence[float]) -> dict[str, Any]:
    """The payload of a rating: one number from -1 (bad) to 1 (good) for every step of the segment."""
    return {"ratings": [float(rating) for rating in ratings]}


def parse_ranking(payload: Mapping[str, Any] | None, shown: int) -> tuple[int, ...]:
    """The screen positions that a ranking of `shown` segments gives, the best one first.

    Raises:
        ValueError: if it is anything but each position once.
    """
    ranking = _named(payload, "ranking")
    if (
        not isinstance(ranking, list | tuple)
        or not all(isinstance(position, int) and not isinstance(position, bool) for position in ranking)
        or sorted(ranking) != list(range(shown))
    ):
        raise ValueError(
            f"A ranking of {shown} segments says {{'ranking': [...]}} with each position from 0 to {shown - 1} once, "
            f"the best one first, not {_short(payload)}."
        )
    return tuple(ranking)


def parse_ratings(payload: Mapping[str, Any] | None, steps: int) -> tuple[float, ...]:
    """The ratings of a segment's steps, each from -1 to 1.

    Raises:
        ValueError: if it is anything but one such number for every step.
    """
    ratings = _named(payload, "ratings")
    if not isinstance(ratings, list | tuple) or len(ratings) != steps or not all(map(_is_rating, ratings)):
        raise ValueError(
            f"A rating of a segment of {steps} steps says {{'ratings': [...]}} with {steps} numbers from -1 to 1, "
            f"not {_short(payload)}."
        )
    return tuple(float(rating) for rating in ratings)


def _named(payload: Mapping[str, Any] | None, name: str) -> Any:
    return None if payload is None else payload.get(name)


def _is_rating(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -1 <= value <= 1


def _short(payload: Mapping[str, Any] | None) -> str:
    text = repr(None if payload is None else dict(payload))
    return text if len(text) <= 80 else f"{text[:80]}..."
