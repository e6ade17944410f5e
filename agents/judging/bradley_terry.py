"""One scale for all policies from how often each was preferred to each other (Bradley and Terry 1952)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

PRIOR_STD = 3.0
"""Before any comparison, scores are taken to lie within some 6 of their mean, so that a policy which never lost has a
finite one: at a difference of 6 one policy wins 399 of 400."""

TWO_SIDED_95 = 1.959964
"""Standard deviations on either side of the mean that hold 95% of a normal distribution."""

_MOST_STEPS = 100
_CLOSE = 1e-10


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of K policies: P(i is preferred to j) = sigmoid(score_i - score_j).

    Attributes:
        values: (K,) float64, log-odds against the reference, whose own is 0; or against their mean.
        std_errors: (K,) float64, of the differences to the reference or mean.
    """

    values: NDArray[np.float64]
    std_errors: NDArray[np.float64]

    def interval(self, index: int) -> tuple[float, float]:
        """Where one score lies with 95% confidence."""
        value, margin = float(self.values[index]), TWO_SIDED_95 * float(self.std_errors[index])
        return value - margin, value + margin


def bradley_terry(wins: NDArray[np.float64], reference: int | None = None, prior_std: float = PRIOR_STD) -> Scores:
    """Scores by maximum posterior: the likelihood of the comparisons times normal priors of mean 0.

    The posterior is log-concave and Newton's method finds its peak; standard errors come from its curvature there.
    Maximum likelihood alone (Hunter 2004, "MM algorithms for generalized Bradley-Terry models") is the limit of a
    wide prior.

    Args:
        wins: (K, K), how often i was preferred to j; a tie is half a win for each.
        reference: the policy whose score is 0; None has the mean be 0.
        prior_std: standard deviation of the priors.
    """
    played = wins + wins.T
    precision = np.eye(len(wins)) / prior_std**2
    scores = np.zeros(len(wins))
    for _ in range(_MOST_STEPS):
        expected = expit(scores[:, None] - scores[None, :])
        gradient = (wins - played * expected).sum(axis=1) - precision @ scores
        curvature = played * expected * (1 - expected)
        information = np.diag(curvature.sum(axis=1)) - curvature + precision
        step = np.linalg.solve(information, gradient)
        scores += step
        if np.abs(step).max() < _CLOSE:
            break
    contrasts = np.eye(len(wins))
    contrasts -= 1 / len(wins) if reference is None else contrasts[reference]
    spread = contrasts @ np.linalg.inv(information) @ contrasts.T
    return Scores(contrasts @ scores, np.sqrt(np.maximum(np.diag(spread), 0.0)))
