"""How far an annotator's answers can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Reliability:
    """How an annotator's answers come from the reward that they judge by.

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
