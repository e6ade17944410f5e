"""When a vector environment begins its new episodes, and which of its steps are therefore none."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """When the environment begins a new episode after one has ended, as its metadata says.

    Raises:
        ValueError: if it does not say so.
    """
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"{env} must say when it begins new episodes: metadata['autoreset_mode'] must be a "
            f"gymnasium.vector.AutoresetMode, not {mode!r}."
        )
    return mode


class PhantomSteps:
    """Knows which rows of a vector environment will only be reset by the coming step.

    In NEXT_STEP mode the step after an episode's last one throws its action away, pays 0 and returns the first
    observation of the new episode. It is no experience. In the other two modes no such step exists.

    Attributes:
        coming: the rows that the next step will only reset, (N,) bool.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        self._exist = autoreset_mode(env) is AutoresetMode.NEXT_STEP
        self.coming = np.zeros(env.num_envs, dtype=np.bool_)

    def episodes_begin(self, rows: NDArray[np.bool_]) -> None:
        """The given rows, (N,) bool, were reset by `reset()`."""
        self.coming = self.coming & ~rows

    def episodes_end(self, dones: NDArray[np.bool_]) -> None:
        """A step was taken; the episodes of the given rows, (N,) bool, ended with it."""
        if self._exist:
            self.coming = dones


def rows_to_reset(options: dict[str, Any] | None, copies: int) -> NDArray[np.bool_]:
    """The rows, (copies,) bool, that `reset(options=options)` begins anew; ask before, as a reset may take them out."""
    mask = (options or {}).get("reset_mask")
    return np.ones(copies, dtype=np.bool_) if mask is None else np.array(mask, dtype=np.bool_)
