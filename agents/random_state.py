"""The global random streams that Stable-Baselines3 draws from: PyTorch's, numpy's and Python's."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RandomState:
    """Where the streams stand.

    Attributes:
        values: the JSON part.
        arrays: the large part, by name; further arrays beside these do no harm.
    """

    values: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def now(cls) -> Self:
        """As the streams stand at this moment."""
        kind, numbers, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
        arrays = {"torch_random": torch.get_rng_state().numpy(), "numpy_random": np.asarray(numbers)}
        return cls({"python": random.getstate(), "numpy": [kind, *rest]}, arrays)

    def restore(self) -> None:
        """Put the streams back to where they stood."""
        version, numbers, gauss = self.values["python"]
        random.setstate((version, tuple(numbers), gauss))
        kind, *rest = self.values["numpy"]
        np.random.set_state((kind, self.arrays["numpy_random"], *rest))  # noqa: NPY002
        torch.set_rng_state(torch.from_numpy(self.arrays["torch_random"]))
