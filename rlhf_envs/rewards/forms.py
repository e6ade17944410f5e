"""What a learned reward may be made of, and which of it held-out answers speak for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rlhf_envs.rewards.fit_config import FitConfig
from rlhf_envs.rewards.network import MemberNetwork

STEPS, POTENTIAL, ENDING = "steps", "potential", "ending"
_STANDARD_ERRORS = 1.5
"""By which another form than rewards of steps has to predict held-out labels better, to take their place. One that the
last choice took stays as long as it predicts them better at all; and where episodes terminate there is something to
reach or to avoid, so that a potential need not predict them clearly better."""

_PROMISING = 0.5
"""A form that is this many standard errors behind the first after a part of its fit is not fitted to the end."""

DOUBTFUL_PENALTIES = 10.0
"""How many times the usual penalties a fit charges where that predicts held-out labels better."""


class Form(NamedTuple):
    """What a reward is made of, and how many times the penalties of `FitConfig` it is charged."""

    parts: frozenset[str]
    penalties: float = 1.0


def possible_forms(network: MemberNetwork, config: FitConfig) -> tuple[Form, ...]:
    """What a reward may be: of steps, of these and a potential, of a potential alone, or of steps and plainer."""
    steps, potential = frozenset({STEPS}), frozenset({POTENTIAL})
    forms = [Form(steps)]
    if network.has_potential:
        forms += [Form(steps | potential), Form(potential)]
    if config.penalised:
        forms.append(Form(steps, DOUBTFUL_PENALTIES))
    return tuple(forms)


def promising_forms(forms: Sequence[Form], losses: Sequence[NDArray[np.float64]], kept: frozenset[str]) -> list[int]:
    """The places of those that are worth fitting to the end: the first, what has been kept, and what may yet be best.

    A form with more than the usual penalties is given up where it is far behind, also if its parts have been kept.

    Args:
        forms, losses, kept: as for `best_form`, after a part of the fit.
    """
    places = []
    for place, (form, tried) in enumerate(zip(forms, losses, strict=True)):
        behind, error = _mean_and_error(tried - losses[0])
        if not behind > _PROMISING * error or form == Form(kept):
            places.append(place)
    return places


def best_form(
    forms: Sequence[Form], losses: Sequence[NDArray[np.float64]], kept: frozenset[str], terminates: bool
) -> int:
    """The form that predicts held-out labels best.

    Another one than the first has to predict them better than guessing; one with a potential clearly better than the
    first, as a policy finds more ways to be paid by it, and a plainer one, what has been kept so far, or any where
    episodes terminate, just better.

    Args:
        forms: the usual one first.
        losses: of each form on every held-out label, (labels,).
        kept: the parts that the reward has been made of.
        terminates: whether episodes end by themselves.
    """
    best, least = 0, math.log(2)
    for place, (form, tried) in enumerate(zip(forms, losses, strict=True)):
        if len(tried) > 1 and tried.mean() < least:
            difference, error = _mean_and_error(tried - losses[0])
            mild = form.penalties > 1 or form.parts == kept or terminates
            if difference < (0.0 if mild else -_STANDARD_ERRORS * error):
                best, least = place, float(tried.mean())
    return best


def _mean_and_error(sample: NDArray[np.float64]) -> tuple[float, float]:
    """The mean of a sample (labels,) and its standard error; NaN where there are too few labels to tell."""
    if len(sample) < 2:
        return math.nan, math.nan
    return float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(len(sample))


def fitted_parts(network: MemberNetwork) -> frozenset[str]:
    """What a reward that was fitted is made of."""
    weights = {STEPS: network.weights[-1], **network.event_weights}
    return frozenset(name for name in (STEPS, POTENTIAL) if name in weights and bool(weights[name].any()))
