"""How quickly the window follows: what it measured of itself while somebody answered."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

FRAMES_PER_SECOND = 60


@dataclass
class WindowFigures:
    """What the window measured of itself.

    Attributes:
        answers: how many were given (and not refused).
        unsaved: how many of them were still not stored when the window was left in spite of that.
        to_next: seconds from each answer to the next question being on screen, where there was a next one.
        ticks: how many times the window looked whether there was something to do or to draw.
        missed: how many times it should have looked, 60 times a second, and did not get to it.
        drawn: how many times it drew something.
        skipped: frames of clips that were never on screen because their time was over before they were drawn.
        shown: frames of clips that were.
        seconds: how long the window was open.
    """

    answers: int = 0
    unsaved: int = 0
    to_next: list[float] = field(default_factory=list)
    ticks: int = 0
    missed: int = 0
    drawn: int = 0
    skipped: int = 0
    shown: int = 0
    seconds: float = 0.0

    def tick(self, late: float) -> None:
        """Count a look, made so many seconds after it was due."""
        self.ticks += 1
        self.missed += int(max(late, 0.0) * FRAMES_PER_SECOND)

    @property
    def median_ms(self) -> float | None:
        """Median milliseconds from an answer to the next question on screen; None before there is any."""
        return 1000 * statistics.median(self.to_next) if self.to_next else None

    @property
    def p95_ms(self) -> float | None:
        """What 95% of them stay below; None before there are at least two."""
        return 1000 * statistics.quantiles(self.to_next, n=20)[-1] if len(self.to_next) > 1 else None

    def __str__(self) -> str:
        if self.median_ms is None or self.p95_ms is None:
            return f"{self.answers} answers in {self.seconds:.0f} s."
        return (
            f"{self.answers} answers in {self.seconds:.0f} s. From an answer to the next question on screen: median "
            f"{self.median_ms:.1f} ms, 95% below {self.p95_ms:.1f} ms. Looked {self.ticks / self.seconds:.0f} times a "
            f"second ({self.missed} of {self.ticks + self.missed} missed); {self.skipped} of "
            f"{self.skipped + self.shown} frames of clips skipped."
        )
