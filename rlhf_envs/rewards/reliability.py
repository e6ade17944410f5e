"""How reliable annotators are, by penalised maximum likelihood from what a reward predicts and what they said.

The model of one answer is

    P(right) = 2 e g + (1 - 2 e) sigmoid(d / (s t)),

with d the predicted return of the right segment less that of the left. With probability 2 e the annotator does not go
by the clips, and then says "right" with probability g; otherwise they follow Bradley-Terry with temperature t. Where
sides were shuffled, e is how often a clear difference is answered wrongly: who reports 30% of all preferences the wrong
way round has e = 0.3 and g = 1/2, which makes it P(right) = e + (1 - 2 e) sigmoid(d / (s t)); who always presses the
same key has e = 1/2 and g near 0 or 1. It is the psychometric function with a guess rate and a lapse rate (Wichmann and
Hill 2001, Perception & Psychophysics 63, equation 1).

Preferences leave the scale s of a reward open. It is shared by all annotators, and their temperatures are relative to
it, with a geometric mean of 1.

Two estimates of e serve two purposes. A fit weighs answers from the first one on, so priors hold its estimate in place.
What people read about an annotator must not come from a prior: it is the maximum of the profile likelihood of e (over
t and g), with the interval of values that a likelihood-ratio test does not reject, from `FEWEST_ANSWERS` on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.special import expit, logit
from scipy.stats import chi2

Floats = NDArray[np.float64]

TEMPERATURE_STD = 0.25
"""Prior standard deviation of log t. Few answers leave a temperature near everybody's: where answers are noisy, a high
temperature and a high error rate look alike, and a wide prior would call mistakes temperature."""

INATTENTION_COUNTS = (0.1, 0.9)
"""Prior pseudo-answers given without, and with, a look at the clips: 2 e is 0.1 before anything is known, as Christiano
et al. (2017, section 2.2.3) assume of people."""

GUESS_COUNTS = (1.0, 1.0)
"""Prior pseudo-guesses "right" and "left"."""

FEWEST_ANSWERS = 100
"""Decisive answers from which on an error rate is measured: with fewer, its interval takes in about anything."""

_SMALLEST = 1e-12
_DROP_95_PERCENT = float(chi2.ppf(0.95, 1)) / 2
"""How far the log-likelihood falls within a 95% interval of one parameter (Wilks 1938)."""
_LEAST_INATTENTION = 1e-6
_NEAR_EVERYBODY, _FREE = 2 * TEMPERATURE_STD, 3.0  # bounds of |log t|
_GUESS_LOGITS = (-8.0, 8.0)
_Measured: TypeAlias = tuple[float, tuple[float, float]] | tuple[None, None]


@dataclass(frozen=True)
class Reliability:
    """How far an annotator's answers can be trusted, given the reward that they judge by.

    P(right) = error_rate + (1 - 2 * error_rate) * sigmoid(difference / temperature), where difference is how much
    higher the return of the right segment is.

    Attributes:
        temperature: how large a difference must be for this annotator to see it, in units of the learned return.
        error_rate: how often an answer is the wrong way round however clear the difference, from 0 to 1; 0.5 is a coin.

    Raises:
        ValueError: if a figure is out of its range.
    """

    temperature: float = 1.0
    error_rate: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"An annotator's temperature must be positive and finite, not {self.temperature}.")
        if not 0 <= self.error_rate <= 1:
            raise ValueError(f"An annotator's error rate must lie between 0 and 1, not {self.error_rate}.")


@dataclass(frozen=True)
class ReliabilityEstimate(Reliability):
    """A reliability, with how well it is known.

    `temperature` and `error_rate` are the penalised estimates that answers are weighed by; few answers leave them near
    their priors. To judge a person, use `measured_error_rate` and `error_interval`.

    Attributes:
        guesses_right: g, how often an answer that does not go by the clips is "right".
        temperature_std_error: standard error of the temperature.
        answers: from how many answers it was estimated.
        measured_error_rate: e of maximum likelihood, without any prior; None below `FEWEST_ANSWERS` answers.
        error_interval: the ends of its 95% profile likelihood interval, within 0 and 0.5; None like the rate.
    """

    guesses_right: float = 0.5
    temperature_std_error: float = math.inf
    answers: int = 0
    measured_error_rate: float | None = None
    error_interval: tuple[float, float] | None = None


def estimate_reliabilities(
    annotators: Sequence[str],
    differences: NDArray[np.floating],
    said_right: NDArray[np.bool_],
    *,
    scale: float | None = None,
) -> dict[str, ReliabilityEstimate]:
    """The reliability of everybody, from N decisive answers (ties and skips left out) of all of them.

    Args:
        annotators: (N,) who gave each answer.
        differences: (N,) predicted return of the right segment less that of the left, in any unit. Predictions of a
            reward that was not trained on the answer: one that was agrees with its mistakes.
        said_right: (N,) whether the answer was "right"; otherwise it was "left".
        scale: s, the difference at which somebody of temperature 1 is right in 73% of cases; None estimates it.

    Returns:
        Estimates with standard errors and intervals, which take the scale as given. Annotators without answers are
        missing.

    Raises:
        ValueError: if the arrays differ in length, a difference is not finite, or the scale is not positive.
    """
    advantages: Floats = np.asarray(differences, np.float64)
    said_right = np.asarray(said_right, bool)
    if not (len(annotators),) == advantages.shape == said_right.shape:
        raise ValueError(
            "Annotators, differences and answers must be lists of one length, not of "
            f"{len(annotators)}, {advantages.shape} and {said_right.shape}."
        )
    if not np.isfinite(advantages).all():
        raise ValueError("A predicted difference is NaN or infinite; leave out answers that have no prediction.")
    if scale is not None and not 0 < scale < np.inf:
        raise ValueError(f"The scale of the differences must be positive and finite, not {scale}.")
    if not len(annotators):
        return {}
    names, who = np.unique(np.asarray(annotators, dtype=str), return_inverse=True)
    likelihood = _Likelihood(who, advantages, said_right, len(names), scale)
    log_scale, parameters = likelihood.maximise()
    errors = likelihood.standard_errors(log_scale, parameters)
    inattention, right = expit(parameters[1]), expit(parameters[2])
    temperatures = np.exp(parameters[0])
    measured = [likelihood.measured_error(row, log_scale, parameters[:, row]) for row in range(len(names))]
    return {
        str(name): ReliabilityEstimate(
            temperature=float(temperatures[row]),
            error_rate=float(inattention[row] / 2),
            guesses_right=float(right[row]),
            temperature_std_error=float(temperatures[row] * errors[0, row]),
            answers=int((who == row).sum()),
            measured_error_rate=measured[row][0],
            error_interval=measured[row][1],
        )
        for row, name in enumerate(names)
    }


class _Likelihood:
    """The penalised likelihood of log s and, for each of A annotators, log t, logit(2 e) and logit(g): (3, A)."""

    def __init__(
        self,
        who: NDArray[np.intp],
        differences: Floats,
        said_right: NDArray[np.bool_],
        people: int,
        scale: float | None,
    ) -> None:
        self.who, self.differences, self.said_right, self.people = who, differences, said_right, people
        self.fixed_log_scale = None if scale is None else float(np.log(scale))
        typical = float(np.median(np.abs(differences)))
        self.typical_log_scale = float(np.log(max(typical, _SMALLEST) / 2))

    def maximise(self) -> tuple[float, Floats]:
        """log s and the parameters (3, A) of the highest likelihood."""
        wrong = self._share(self.said_right != (self.differences > 0))
        start = np.zeros((3, self.people))
        start[1] = logit(np.clip(wrong, 0.02, 0.48) * 2)
        start[2] = logit(np.clip(self._share(self.said_right), 0.1, 0.9))
        log_scale = self.typical_log_scale if self.fixed_log_scale is None else self.fixed_log_scale
        found = minimize(self._loss, np.concatenate([[log_scale], start.ravel()]), jac=True, method="L-BFGS-B")
        log_scale, parameters = float(found.x[0]), found.x[1:].reshape(3, self.people)
        return log_scale, parameters

    def standard_errors(self, log_scale: float, parameters: Floats) -> Floats:
        """Of each parameter, (3, A), from the expected information with the scale as given."""
        probability, slopes = self._predict(log_scale, parameters)
        weight = 1 / np.maximum(probability * (1 - probability), _SMALLEST)
        information = np.zeros((self.people, 3, 3))
        for row in range(3):
            for column in range(3):
                information[:, row, column] = self._sum(weight * slopes[row] * slopes[column])
        chance = expit(parameters[1:])
        prior = np.empty((3, self.people))
        prior[0] = TEMPERATURE_STD**-2
        prior[1:] = np.array([[sum(INATTENTION_COUNTS)], [sum(GUESS_COUNTS)]]) * chance * (1 - chance)
        information[:, range(3), range(3)] += prior.T
        variances = np.linalg.inv(information)[:, range(3), range(3)]
        errors: Floats = np.sqrt(variances).T
        return errors

    def measured_error(self, row: int, log_scale: float, start: Floats) -> _Measured:
        """The error rate of one annotator without priors, and its 95% interval; (None, None) for too few answers.

        Args:
            row: which annotator.
            log_scale: log s, as estimated from the answers of all.
            start: (3,) parameters to start from.
        """
        own = self.who == row
        if own.sum() < FEWEST_ANSWERS:
            return None, None
        # A coin cannot be told from a very high temperature, so a temperature is taken to be near everybody's, within
        # two standard deviations of its prior. Of a single annotator the scale is not known apart from the temperature,
        # which is left free.
        is_scale_known = self.people > 1 or self.fixed_log_scale is not None
        reach = _NEAR_EVERYBODY if is_scale_known else _FREE
        bounds = ((-reach, reach), _GUESS_LOGITS)
        free = np.clip(start[[0, 2]], *np.transpose(bounds))
        alone = _Likelihood(np.zeros(own.sum(), np.intp), self.differences[own], self.said_right[own], 1, None)

        def profile(error: float) -> float:
            """The least negative log-likelihood at an error rate, over temperature and guesses."""
            inattention = logit(np.clip(2 * error, _LEAST_INATTENTION, 1 - _LEAST_INATTENTION))

            def loss(tried: Floats) -> tuple[float, Floats]:
                value, gradient = alone.loss_without_priors(
                    log_scale, np.array([[tried[0]], [inattention], [tried[1]]])
                )
                return value, gradient[[0, 2], 0]

            return float(minimize(loss, free, jac=True, method="L-BFGS-B", bounds=bounds).fun)

        inner = float(minimize_scalar(profile, bounds=(0, 0.5), method="bounded", options={"xatol": 1e-3}).x)
        losses = {error: profile(error) for error in (0.0, inner, 0.5)}
        best = min(losses, key=losses.__getitem__)
        highest = losses[best] + _DROP_95_PERCENT

        def end(extreme: float) -> float:
            if losses[extreme] <= highest:
                return extreme
            return float(brentq(lambda error: profile(error) - highest, best, extreme, xtol=1e-3))

        return best, (end(0.0), end(0.5))

    def loss_without_priors(self, log_scale: float, parameters: Floats) -> tuple[float, Floats]:
        """The negative log-likelihood, and its derivatives by the parameters, (3, A)."""
        probability, slopes = self._predict(log_scale, parameters)
        said = np.where(self.said_right, probability, 1 - probability)
        sign = np.where(self.said_right, 1.0, -1.0) / np.maximum(said, _SMALLEST)
        gradient: Floats = -np.stack([self._sum(sign * slope) for slope in slopes])
        return float(-np.log(np.maximum(said, _SMALLEST)).sum()), gradient

    def _loss(self, flat: Floats) -> tuple[float, Floats]:
        log_scale, parameters = flat[0], flat[1:].reshape(3, self.people)
        loss, gradient = self.loss_without_priors(log_scale, parameters)
        # Temperature and scale move the same logit, so the scale's slope is the sum of the temperatures' slopes.
        scale_gradient = gradient[0].sum()
        if self.fixed_log_scale is not None:
            scale_gradient = 0.0
        loss += (parameters[0] ** 2).sum() / (2 * TEMPERATURE_STD**2)
        gradient[0] += parameters[0] / TEMPERATURE_STD**2
        for row, (yes, no) in ((1, INATTENTION_COUNTS), (2, GUESS_COUNTS)):
            loss += (yes * np.logaddexp(0, -parameters[row]) + no * np.logaddexp(0, parameters[row])).sum()
            gradient[row] += (yes + no) * expit(parameters[row]) - yes
        return float(loss), np.concatenate([[scale_gradient], gradient.ravel()])

    def _predict(self, log_scale: float, parameters: Floats) -> tuple[Floats, Floats]:
        """P(right) of every answer, (N,), and its derivatives by the answerer's three parameters, (3, N)."""
        log_temperature, inattention, guess = parameters[:, self.who]
        logits = self.differences * np.exp(-np.clip(log_scale + log_temperature, -30, 30))
        followed, lapse, right = expit(logits), expit(inattention), expit(guess)
        probability: Floats = lapse * right + (1 - lapse) * followed
        slopes: Floats = np.stack(
            [
                -(1 - lapse) * followed * (1 - followed) * logits,
                lapse * (1 - lapse) * (right - followed),
                lapse * right * (1 - right),
            ]
        )
        return probability, slopes

    def _sum(self, values: Floats) -> Floats:
        sums: Floats = np.bincount(self.who, values, minlength=self.people).astype(np.float64)
        return sums

    def _share(self, flags: NDArray[np.bool_]) -> Floats:
        return self._sum(flags.astype(np.float64)) / self._sum(np.ones(len(self.who)))
