"""What the figures mean and when to worry, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator

from rlhf_envs.feedback.quality.annotators import TOO_FAST, AnnotatorFigures, Share
from rlhf_envs.feedback.quality.estimation import ReliabilityEstimate
from rlhf_envs.feedback.quality.report import QualityReport

MEANINGS = {
    "consistent": ("Share of repeated pairs answered as the first time, on whichever side. A coin reaches 50%."),
    "left": (
        "Share of decided answers that are 'left'. Sides are shuffled, so it should be near 50%; p is how often chance "
        "alone is as uneven."
    ),
    "seconds": (
        "Median time from seeing a pair to answering it, with its quartiles. Expect about 3 seconds; "
        f"an answer in less than {TOO_FAST} s was not given by looking at both."
    ),
    "agrees": (
        "Share of pairs answered as another annotator did. Two who are consistent and disagree have understood the "
        "question differently."
    ),
    "error rate": (
        "How often a clear difference is answered wrongly, estimated from a reward that was fitted to the answers of "
        "all. 0% is an oracle, 50% teaches nothing. The reward weighs each answer by it."
    ),
    "temperature": (
        "How large a difference must be for this annotator to see it, relative to everybody's: above 1 is less sharp."
    ),
    "alpha": (
        "Krippendorff's alpha: agreement beyond chance. 1 is full agreement, 0 is chance. Content analysis asks for "
        "0.67 to 0.8; below 0.4 the question itself may be unclear."
    ),
    "cycles": (
        "Circles of preferences (A over B, B over C, C over A) that no reward can satisfy. A few are to be expected "
        "where clips are alike."
    ),
}
"""What each figure means, by the name it is shown under."""

NO_WORRY = "Nothing here gives reason to worry."

_FEWEST = 8
_UNLIKELY = 0.001
_CONSISTENT = 0.85
_MANY_TOO_FAST = 0.1
_MANY_SKIPS = 0.3
_AGREES = 0.7
_MANY_ERRORS = 0.15
_NO_INFORMATION = 0.4
_LOW_ALPHA = 0.4
_MANY_ON_CYCLES = 0.1
_ONE_SIDED_95_PERCENT = 1.64


def worries(report: QualityReport) -> list[str]:
    """Sentences about what deserves a look, each with the figure behind it; empty where nothing does.

    Figures of fewer than 8 cases are taken for chance.
    """
    found = [sentence for name, figures in report.annotators.items() for sentence in _own(name, figures)]
    for name, estimate in report.reliability.items():
        found += _reliability(name, estimate)
    alpha, shared = report.agreement.alpha, report.agreement.shared
    if alpha is not None and shared >= _FEWEST and alpha < _LOW_ALPHA:
        found.append(
            f"Annotators agree little about the {shared} pairs that several of them compared (alpha {alpha:.2f}): "
            "check whether the rubric says clearly enough what is better."
        )
    cycles = report.cycles
    if cycles.decided >= _FEWEST and cycles.on_a_cycle > _MANY_ON_CYCLES * cycles.decided:
        found.append(
            f"{cycles.on_a_cycle} of {cycles.decided} preferences lie on circles that no reward can satisfy: look at "
            "the circles listed below."
        )
    return found


def wavers(consistent: Share) -> bool:
    """Whether repeated pairs are answered the other way round so often that it is hardly chance."""
    return _is_surely_below(consistent, _CONSISTENT)


def prefers_a_side(left: Share) -> bool:
    """Whether one side is chosen so often that it is hardly chance."""
    return left.p_value_of_half is not None and left.p_value_of_half < _UNLIKELY


def errs_often(estimate: ReliabilityEstimate) -> bool:
    """Whether clear differences are answered wrongly so often that it is hardly chance."""
    lower = estimate.error_rate - _ONE_SIDED_95_PERCENT * estimate.error_rate_std_error
    return estimate.answers >= _FEWEST and lower > _MANY_ERRORS


def percent(share: float) -> str:
    """A share for people to read, such as "81%"."""
    return f"{100 * share:.0f}%"


def _own(name: str, figures: AnnotatorFigures) -> Iterator[str]:
    left = figures.left
    if left.value is not None and prefers_a_side(left):
        side, uneven = ("left", left.value) if left.value > 0.5 else ("right", 1 - left.value)
        yield (
            f"{name} chose {side} in {percent(uneven)} of {left.of} answers (p < {_UNLIKELY}): check that "
            "both clips are looked at."
        )
    if wavers(figures.consistent):
        yield (
            f"{name} answered only {figures.consistent.count} of {figures.consistent.of} repeated pairs as the first "
            "time: ask what makes the choice hard."
        )
    if (share := _known(figures.too_fast)) is not None and share > _MANY_TOO_FAST:
        yield (
            f"{name} gave {percent(share)} of {figures.too_fast.of} answers in less than {TOO_FAST} s, before both "
            "clips can have been seen."
        )
    skips = Share(figures.choices["skip"], sum(figures.choices.values()))
    if (share := _known(skips)) is not None and share > _MANY_SKIPS:
        yield f"{name} skipped {percent(share)} of {skips.of} pairs: clips may be too short or too much alike to judge."
    if _is_surely_below(figures.agrees, _AGREES):
        yield (
            f"{name} answered as others did in only {figures.agrees.count} of {figures.agrees.of} cases: check whether "
            "the rubric was understood."
        )


def _reliability(name: str, estimate: ReliabilityEstimate) -> Iterator[str]:
    error, spread = estimate.error_rate, estimate.error_rate_std_error
    if not errs_often(estimate):
        return
    seen = f"{name} is wrong about {percent(error)} of clear differences (give or take {percent(spread)})"
    if error > _NO_INFORMATION:
        yield f"{seen}: these answers teach the reward next to nothing."
    else:
        yield f"{seen}: the reward counts these answers for less."


def _is_surely_below(share: Share, bound: float) -> bool:
    return share.of >= _FEWEST and share.interval is not None and share.interval[1] < bound


def _known(share: Share) -> float | None:
    return share.value if share.of >= _FEWEST else None
