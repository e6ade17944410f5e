"""What a preference dataset holds, as arrays: one class for each kind of answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Comparisons:
    """N comparisons.

    Attributes:
        left, right: (N,) int64, the rows of `PreferenceDataset.steps` where the segments lie.
        probability_right: (N,) float32, the labels: 0 for left, 1 for right, 0.5 for a tie.
        weights: (N,) float32, how much each label counts.
        annotators: (N,) int64, who answered, as places in `PreferenceDataset.annotators`.
        temperatures, error_rates: (N,) float64, the `Reliability` of who answered.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    probability_right: NDArray[np.float32]
    weights: NDArray[np.float32]
    annotators: NDArray[np.int64]
    temperatures: NDArray[np.float64]
    error_rates: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.left)


@dataclass(frozen=True, eq=False)
class Rankings:
    """N rankings of up to `LONGEST_RANKING` segments.

    Attributes:
        ranked: (N, LONGEST_RANKING) int64, rows of `PreferenceDataset.steps`, best first; places that a shorter ranking
            does not have are -1.
        weights, annotators, temperatures, error_rates: (N,), as in `Comparisons`.
    """

    ranked: NDArray[np.int64]
    weights: NDArray[np.float32]
    annotators: NDArray[np.int64]
    temperatures: NDArray[np.float64]
    error_rates: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ranked)


@dataclass(frozen=True, eq=False)
class Ratings:
    """N ratings.

    Attributes:
        rated: (N,) int64, the rows of `PreferenceDataset.steps` where the segments lie.
        values: (N, T) float32, the ratings of every step, from -1 to 1.
        weights, annotators: (N,), as in `Comparisons`.
    """

    rated: NDArray[np.int64]
    values: NDArray[np.float32]
    weights: NDArray[np.float32]
    annotators: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rated)
