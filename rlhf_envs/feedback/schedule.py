"""Label schedules: how many comparisons should have been asked by when."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

_HALF_RATE_AT = 0.25


def constant(progress: float) -> float:
    """The share of the labels asked so far when they come at one rate; progress and share run from 0 to 1."""
    return progress


def hyperbolic(progress: float) -> float:
    """The share asked so far when the rate falls as T0 / (t + T0) (Christiano et al. 2017, appendix A.1).

    The paper gives T0, where the rate has halved, as 2e6 steps; here it is a quarter of the time in which labels are
    asked, so that it fits trainings of any length. The share is the integral, log(1 + t / T0), scaled to end at 1.
    """
    return math.log1p(progress / _HALF_RATE_AT) / math.log1p(1 / _HALF_RATE_AT)


SCHEDULES: dict[str, Callable[[float], float]] = {"constant": constant, "hyperbolic": hyperbolic}
"""Label schedules by name. Each rises from 0 at 0 to 1 at 1."""


def due(
    schedule: str,
    timesteps: int,
    total_timesteps: int,
    comparisons: int,
    initial_share: float = 0.25,
    finish_by: float = 0.7,
) -> int:
    """How many comparisons should have been asked once `timesteps` of training are done.

    Args:
        schedule: a name in `SCHEDULES`.
        timesteps: environment steps so far.
        total_timesteps: environment steps of the whole training.
        comparisons: the label budget.
        initial_share: the part of the budget that is asked before training, rounded up to a whole label.
        finish_by: the part of training by which the whole budget has been asked, so that the policy still has time to
            learn from the last labels.

    Returns:
        A number that never falls as `timesteps` rises: ceil(comparisons * initial_share) at 0, `comparisons` from
        `finish_by * total_timesteps` on.

    Raises:
        ValueError: if the schedule is unknown or a figure is out of its range.
    """
    if schedule not in SCHEDULES:
        near = difflib.get_close_matches(schedule, SCHEDULES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(SCHEDULES)}."
        raise ValueError(f"There is no label schedule {schedule!r}; {hint}")
    if timesteps < 0 or total_timesteps < 1 or comparisons < 0:
        raise ValueError(
            "A label schedule needs timesteps and comparisons of at least 0 and total_timesteps of at least 1, "
            f"not {timesteps}, {comparisons} and {total_timesteps}."
        )
    if not 0 <= initial_share <= 1:
        raise ValueError(f"initial_share is a part of the label budget between 0 and 1, not {initial_share}.")
    if not 0 < finish_by <= 1:
        raise ValueError(f"finish_by is a part of training above 0 and at most 1, not {finish_by}.")
    progress = timesteps / (finish_by * total_timesteps)
    if progress >= 1:
        return comparisons
    share = initial_share + (1 - initial_share) * SCHEDULES[schedule](progress)
    # Without the small step back, a product such as 0.1 * 30 = 3.0000000000000004 would round up to 4.
    return min(comparisons, math.ceil(comparisons * share - 1e-9))
