"""What a judgement says, in sentences for the terminal and the page."""

from __future__ import annotations

import math

from agents.judging.judgement import Judgement


def counts_sentence(found: Judgement) -> str:
    """What was judged, by how many, and what is missing or left out."""
    if not found.answers:
        return f"Nobody has judged these policies in {found.env} yet; {_comparisons(found.open)} open."
    people = f"{len(found.annotators)} annotator{'' if len(found.annotators) == 1 else 's'}"
    ties, skips = sum(pair.ties for pair in found.pairs), sum(pair.skips for pair in found.pairs)
    said = f"{_answers(found.answers)} by {people} about {len(found.policies)} policies in {found.env}"
    parts = [f"{said}: {ties} called both equally good, which counts as half a win for each, {skips} could not tell."]
    if found.open:
        parts.append(f"{_comparisons(found.open)} open.")
    if found.elsewhere:
        parts.append(
            f"{_answers(found.elsewhere)} about other policies {'is' if found.elsewhere == 1 else 'are'} left out."
        )
    return " ".join(parts)


def scale_sentence(found: Judgement) -> str:
    """What a score means."""
    beside = "the mean of all" if found.reference is None else found.reference
    return (
        f"Scores are log-odds of being preferred, {beside} being 0: one that is 1 higher wins 73% of comparisons, 2 "
        "higher 88%, 3 higher 95%."
    )


def agreement_sentence(found: Judgement) -> str:
    """How far annotators agree."""
    agreed = found.agreement
    if not agreed.shared:
        return "No two annotators judged the same clips, so their agreement is not known (--overlap 2)."
    alike, compared = sum(pair.alike for pair in agreed.pairs), sum(pair.compared for pair in agreed.pairs)
    alpha = "" if agreed.alpha is None else f" Krippendorff's alpha is {agreed.alpha:.2f}."
    return f"Where two annotators judged the same clips, they said the same in {alike} of {compared} cases.{alpha}"


def percent(share: float | None) -> str:
    """A share for reading; a dash where it is not known."""
    return "–" if share is None or math.isnan(share) else f"{share:.0%}"


def _answers(count: int) -> str:
    return "1 answer" if count == 1 else f"{count:,} answers"


def _comparisons(count: int) -> str:
    return "1 comparison is" if count == 1 else f"{count:,} comparisons are"
