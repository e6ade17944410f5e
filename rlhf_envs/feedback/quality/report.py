"""The quality report: all that answers show about their own quality, as a value, as sentences, and as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rlhf_envs.feedback.quality.agreement import Agreement, Cycle, CycleFigures, agreement, preference_cycles
from rlhf_envs.feedback.quality.annotators import (
    TOO_FAST,
    AnnotatorFigures,
    AnswerStatistics,
    Share,
)
from rlhf_envs.queries import LiveAnswer
from rlhf_envs.terminal import at_separators, counted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from rlhf_envs.rewards.reliability import ReliabilityEstimate

MEANINGS = {
    "left share": (
        "Share of decided answers that are 'left'. Sides are shuffled, so it should be near 50%; p is how often chance "
        "alone is as uneven."
    ),
    "consistent": ("Share of repeated pairs answered as the first time, on whichever side. A coin reaches 50%."),
    "agrees": (
        "Share of pairs answered as another annotator did. Two who are consistent and disagree have understood the "
        "question differently."
    ),
    "seconds": "Median time from seeing a pair to answering it, with its quartiles. Expect about 3 seconds.",
    "too fast": f"Share of answers in less than {TOO_FAST} s, which nobody can have given by looking at both.",
    "error rate": (
        "How often a clear difference is answered wrongly, with a 95% interval: maximum likelihood, from a reward that "
        "was fitted to the answers of all, and by its members that did not train on the answer. 0% is an oracle, 50% "
        "teaches nothing. There is none below 100 decided comparisons."
    ),
    "temperature": (
        "How large a difference must be for this annotator to see it, relative to everybody's: above 1 is less sharp. "
        "There is none below 100 decided comparisons."
    ),
    "on cycles": (
        "How many of an annotator's own preferences lie on cycles (A over B, B over C, C over A), which no reward can "
        "satisfy. A few are to be expected where clips are alike."
    ),
}
"""What each column of the table means, of those whose heading does not say all."""

AGREEMENT_MEANINGS = {
    "alpha": (
        "Krippendorff's alpha: agreement beyond chance. 1 is full agreement, 0 is chance. Content analysis asks for "
        "0.67 to 0.8; below 0.4 the question itself may be unclear."
    ),
    "AC1": (
        "Gwet's AC1: the same where one answer, such as a tie, is given nearly always. Chance agreement is then nearly "
        "full for alpha, which falls although hardly anybody disagrees."
    ),
}
"""What the measures of agreement mean, which are of all annotators together."""

COLUMNS = (
    "annotator",
    "answers",
    "left",
    "right",
    "tie",
    "skip",
    "left share",
    "consistent",
    "agrees",
    "seconds",
    "too fast",
    "error rate",
    "temperature",
    "on cycles",
)
"""The columns of the table, see `table_rows`."""

UNKNOWN = "–"
NO_WARNINGS = "No figure is out of the ordinary."
NO_ANSWERS = "Nobody has answered yet, so there is nothing to report on."

_FEWEST_CASES = 8
_UNLIKELY = 0.001
_CONSISTENT = 0.85
_MANY_TOO_FAST = 0.1
_MANY_SKIPS = 0.3
_AGREES = 0.7
_MANY_ERRORS = 0.15
_NO_INFORMATION = 0.4
_LOW_ALPHA = 0.4
_MANY_ON_CYCLES = 0.1
_MOST_CYCLES = 10
_NARROWEST_COLUMN = 12  # characters in which the figures of an annotator can be read, most of them unbroken
_COLUMN_FRAME = 3  # characters that a column takes besides its content


@dataclass(frozen=True)
class QualityReport:
    """How good the answers are.

    Attributes:
        annotators: everybody's own figures, by name.
        agreement: how far annotators agree with each other.
        cycles: cycles in the preferences of all annotators together.
        cycles_within: cycles within each annotator's own preferences, by name.
        reliability: estimated temperatures and error rates, by name; empty where no reward was fitted.
    """

    annotators: Mapping[str, AnnotatorFigures]
    agreement: Agreement
    cycles: CycleFigures
    cycles_within: Mapping[str, CycleFigures]
    reliability: Mapping[str, ReliabilityEstimate]

    @property
    def answers(self) -> int:
        """How many answers there are, of everybody."""
        return sum(figures.answers for figures in self.annotators.values())

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values.

        Of each `reliability` there are the figures for people: `answers`, `temperature` with its standard error, and
        `error_rate` with its `error_interval`, both None where `ReliabilityEstimate.measured_error_rate` is.
        """
        reliability = {
            name: {
                "answers": one.answers,
                "temperature": one.temperature,
                "temperature_std_error": one.temperature_std_error,
                "error_rate": one.measured_error_rate,
                "error_interval": one.error_interval,
            }
            for name, one in self.reliability.items()
        }
        return asdict(self) | {"reliability": reliability}


def quality_report(
    answers: Iterable[LiveAnswer], reliability: Mapping[str, ReliabilityEstimate] | None = None
) -> QualityReport:
    """The quality of answers, practice left out.

    Answers are read one after another, and take some tens of bytes each: a million of them fit into 150 MB.

    Args:
        answers: that were not undone, of all annotators (`PreferenceStore.each_live_answer`).
        reliability: estimates to show besides (`rlhf_envs.rewards.joint_fitting`).
    """
    counted = AnswerStatistics(answers)
    agreed = agreement(counted.preferences)
    return QualityReport(
        annotators=counted.figures(agreed),
        agreement=agreed,
        cycles=preference_cycles(counted.preferences),
        cycles_within={name: preference_cycles(counted.preferences, name) for name in counted.names},
        reliability=dict(reliability or {}),
    )


def quality_warnings(report: QualityReport) -> list[str]:
    """Sentences about what deserves a look, each with the figure behind it; empty where nothing does.

    Figures of fewer than 8 cases are taken for chance.
    """
    found = [sentence for name, figures in report.annotators.items() for sentence in _own_warnings(name, figures)]
    for name, estimate in report.reliability.items():
        if errs_often(estimate):
            useless = _errs_above(estimate, _NO_INFORMATION)
            effect = "these answers teach the reward next to nothing" if useless else "their weight is reduced"
            found.append(f"{name} is wrong about {_error_rate(estimate)} of clear differences: {effect}.")
    alpha, shared = report.agreement.alpha, report.agreement.shared
    ac1 = report.agreement.ac1
    if alpha is not None and ac1 is not None and shared >= _FEWEST_CASES and max(alpha, ac1) < _LOW_ALPHA:
        found.append(
            f"Annotators agree little about the {shared} pairs that several of them compared (alpha {alpha:.2f}, AC1 "
            f"{ac1:.2f}): check whether the rubric says clearly enough what is better."
        )
    cycles = report.cycles
    if cycles.decided >= _FEWEST_CASES and cycles.on_a_cycle > _MANY_ON_CYCLES * cycles.decided:
        found.append(
            f"{cycles.on_a_cycle} of {cycles.decided} preferences lie on cycles that no reward can satisfy: look at "
            "the cycles listed below."
        )
    return found


def _own_warnings(name: str, figures: AnnotatorFigures) -> Iterator[str]:
    left = figures.left
    if left.value is not None and prefers_a_side(left):
        side, uneven = ("left", left.value) if left.value > 0.5 else ("right", 1 - left.value)
        yield (
            f"{name} chose {side} in {percent(uneven)} of {left.of} answers (p < {_UNLIKELY}): check that "
            "both clips are looked at."
        )
    if is_inconsistent(figures.consistent):
        yield (
            f"{name} answered only {figures.consistent.count} of {figures.consistent.of} repeated pairs as the first "
            "time: ask what makes the choice hard."
        )
    if _is_above(figures.too_fast, _MANY_TOO_FAST):
        yield (
            f"{name} gave {_share(figures.too_fast)} answers in less than {TOO_FAST} s, before both clips can have "
            "been seen."
        )
    skips = Share(figures.choices["skip"], sum(figures.choices.values()))
    if _is_above(skips, _MANY_SKIPS):
        yield f"{name} skipped {_share(skips)} pairs: clips may be too short or too much alike to judge."
    if _is_surely_below(figures.agrees, _AGREES):
        yield (
            f"{name} answered as others did in only {figures.agrees.count} of {figures.agrees.of} cases: check whether "
            "the rubric was understood."
        )


def is_inconsistent(consistent: Share) -> bool:
    """Whether repeated pairs are answered the other way round so often that it is hardly chance."""
    return _is_surely_below(consistent, _CONSISTENT)


def prefers_a_side(left: Share) -> bool:
    """Whether one side is chosen so often that it is hardly chance."""
    return left.p_value_of_half is not None and left.p_value_of_half < _UNLIKELY


def errs_often(estimate: ReliabilityEstimate) -> bool:
    """Whether the whole 95% interval of the error rate lies above 15%."""
    return _errs_above(estimate, _MANY_ERRORS)


def _errs_above(estimate: ReliabilityEstimate, bound: float) -> bool:
    return estimate.error_interval is not None and estimate.error_interval[0] > bound


def _error_rate(estimate: ReliabilityEstimate) -> str:
    if estimate.measured_error_rate is None or estimate.error_interval is None:
        return UNKNOWN
    low, high = estimate.error_interval
    return f"{percent(estimate.measured_error_rate)} ({percent(low)} to {percent(high)})"


def _is_surely_below(share: Share, bound: float) -> bool:
    return share.of >= _FEWEST_CASES and share.interval is not None and share.interval[1] < bound


def _is_above(share: Share, bound: float) -> bool:
    return share.of >= _FEWEST_CASES and share.value is not None and share.value > bound


def table_rows(report: QualityReport) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` for each annotator; what is not known is a dash."""
    rows = []
    for name, figures in report.annotators.items():
        seconds = error_rate = temperature = UNKNOWN
        if figures.seconds is not None:
            low, middle, high = figures.seconds
            seconds = f"{middle:.1f} ({low:.1f} to {high:.1f})"
        estimate = report.reliability.get(name)
        if estimate is not None and _has_error_rate(estimate):
            error_rate = _error_rate(estimate)
            temperature = f"{estimate.temperature:.2f} ± {estimate.temperature_std_error:.2f}"
        rows.append(
            (
                name,
                f"{figures.answers:,}",
                *(str(figures.choices[choice]) for choice in ("left", "right", "tie", "skip")),
                _share(figures.left),
                _share(figures.consistent),
                _share(figures.agrees),
                seconds,
                _share(figures.too_fast),
                error_rate,
                temperature,
                str(report.cycles_within[name].on_a_cycle),
            )
        )
    return rows


def percent(share: float) -> str:
    """A share for people to read, such as "81%"."""
    return f"{100 * share:.0f}%"


def _share(share: Share) -> str:
    return UNKNOWN if share.value is None else f"{percent(share.value)} of {share.of}"


def error_rate_sentence(report: QualityReport) -> str | None:
    """Why some annotators have no error rate, in one sentence; None where no reward was fitted, or all have one."""
    unknown = [name for name in report.annotators if not _has_error_rate(report.reliability.get(name))]
    if not report.reliability or not unknown:
        return None
    from rlhf_envs.rewards.reliability import FEWEST_ANSWERS  # here, as it takes PyTorch

    names = ", ".join(unknown)
    return f"An error rate takes at least {FEWEST_ANSWERS} decided comparisons, which these do not have yet: {names}."


def _has_error_rate(estimate: ReliabilityEstimate | None) -> bool:
    return estimate is not None and estimate.measured_error_rate is not None


def agreement_sentence(report: QualityReport) -> str:
    """How far everybody agrees, in one sentence."""
    agreed = report.agreement
    if not agreed.shared:
        return "No pair was compared by two annotators, so their agreement is not known."
    if agreed.alpha is None:
        return (
            f"All answers to the {agreed.shared} pairs that several compared are the same, so alpha is not defined; "
            f"Gwet's AC1 is {agreed.ac1:.2f}."
        )
    return (
        f"Krippendorff's alpha is {agreed.alpha:.2f} and Gwet's AC1 {agreed.ac1:.2f} over {agreed.shared} pairs that "
        "several annotators compared."
    )


def cycle_sentence(report: QualityReport) -> str:
    """How many preferences lie on cycles, in one sentence."""
    return f"{report.cycles.on_a_cycle} of {report.cycles.decided} preferences lie on cycles."


def cycle_lines(report: QualityReport) -> list[str]:
    """The shortest cycles of segments, such as "3 > 8 > 5 > 3 (ann, bob)"."""

    def line(cycle: Cycle) -> str:
        around = " > ".join(str(segment) for segment in (*cycle.segments, cycle.segments[0]))
        return f"{around} ({', '.join(cycle.annotators)})"

    return [line(cycle) for cycle in report.cycles.shortest[:_MOST_CYCLES]]


def print_quality(report: QualityReport, console: Console | None = None) -> None:
    """Print a report: a column for each annotator, warnings, cycles of preferences, what it all means."""
    from rich.console import Console
    from rich.markup import escape

    console = console or Console()

    def say(text: str = "") -> None:
        console.print(text, highlight=False)

    if not report.answers:
        say(NO_ANSWERS)
        return
    say(f"{counted(report.answers, 'answer')} by {counted(len(report.annotators), 'annotator')}")
    for table in _tables(report, console.width):
        console.print(table)
    missing = error_rate_sentence(report)
    if missing is not None:
        say(escape(missing))
    say(agreement_sentence(report))
    say()
    for sentence in quality_warnings(report) or [NO_WARNINGS]:
        say(f"- {escape(sentence)}")
    say()
    say(cycle_sentence(report))
    for line in cycle_lines(report):
        say(f"  {escape(line)}")
    say()
    for name, meaning in meanings(report).items():
        say(f"[bold]{name}[/bold]  [dim]{escape(meaning)}[/dim]")


def meanings(report: QualityReport) -> dict[str, str]:
    """What the figures that a report has mean, by the names that they are shown under."""
    figures = zip(COLUMNS, zip(*table_rows(report), strict=True), strict=True)
    known = [name for name, cells in figures if any(cell != UNKNOWN for cell in cells)]
    of_all = AGREEMENT_MEANINGS if report.agreement.shared else {}
    return {name: MEANINGS[name] for name in known if name in MEANINGS} | of_all


def _tables(report: QualityReport, width: int) -> Iterator[Table]:
    """Figures as rows and annotators as columns, in as many tables as it takes to fit the width."""
    from rich.markup import escape
    from rich.table import Table

    heading, *figures = zip(COLUMNS, *table_rows(report), strict=True)
    known = [figure for figure in figures if any(cell != UNKNOWN for cell in figure[1:])]
    name_width = max(len(figure[0]) for figure in (heading, *known))
    per_table = max((width - name_width - _COLUMN_FRAME - 1) // (_NARROWEST_COLUMN + _COLUMN_FRAME), 1)
    for first in range(1, len(heading), per_table):
        shown = slice(first, first + per_table)
        table = Table(heading[0])
        for name in heading[shown]:
            table.add_column(escape(at_separators(name, _NARROWEST_COLUMN)), justify="right", overflow="fold")
        for figure in known:
            table.add_row(figure[0], *(escape(cell) for cell in figure[shown]))
        yield table
