"""One observation or action as a batch of one, so that single environments use what is written for batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space, spaces

_ARRAY_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_ARRAY_NAMES = "Box, Discrete, MultiDiscrete, MultiBinary"


def batch_of_one(value: Any) -> Any:
    """A copy of an observation or action with a leading axis of length 1; a dict of such for a flat Dict space."""
    if isinstance(value, Mapping):
        return {name: np.array(part)[None] for name, part in value.items()}
    return np.array(value)[None]


def check_spaces(observation_space: Space[Any], action_space: Space[Any]) -> None:
    """Refuse spaces whose elements do not batch into arrays.

    Args:
        observation_space: of a single copy; Box, Discrete, MultiDiscrete, MultiBinary or a flat Dict of these.
        action_space: of a single copy; Box, Discrete, MultiDiscrete or MultiBinary.

    Raises:
        ValueError: if either is of another kind.
    """
    parts = list(observation_space.values()) if isinstance(observation_space, spaces.Dict) else [observation_space]
    if not all(isinstance(part, _ARRAY_SPACES) for part in parts):
        raise ValueError(
            f"The observation space is {observation_space}, but it must be {_ARRAY_NAMES} or a flat Dict of these; "
            "a Gymnasium wrapper such as FilterObservation or FlattenObservation makes it one."
        )
    if not isinstance(action_space, _ARRAY_SPACES):
        raise ValueError(f"The action space is {action_space}, but it must be {_ARRAY_NAMES}.")
