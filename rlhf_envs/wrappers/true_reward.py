"""Where the true reward of a step is found, and where it is kept."""

from __future__ import annotations

from math import isfinite
from typing import Any, NoReturn, SupportsFloat

import numpy as np
from numpy.typing import NDArray

COPY_INFOS = "copies"
"""Where the infos of `EnvironmentRef.make_vector` hold those of separate copies: a list of N dicts."""


def true_reward(reward: SupportsFloat, info: dict[str, Any]) -> float:
    """The true reward of one step of a single environment.

    That is what the environment itself says in `info["true_reward"]`, as the suite's environments do whatever their
    objective pays, and otherwise the reward that it paid.

    Raises:
        ValueError: if the reward is not a finite number.
    """
    truth = float(info.get("true_reward", reward))
    if not isfinite(truth):
        _refuse(truth)
    return truth


def true_rewards(rewards: NDArray[Any], info: dict[str, Any]) -> NDArray[Any]:
    """The true rewards of one step of a vector environment, as a new array.

    In SAME_STEP mode the info of a row whose episode ended is already that of the new episode; what the environment
    said about its last step is in `info["final_info"]`, and is read from there.

    Args:
        rewards: as paid, (N,).
        info: of the same step.

    Returns:
        (N,), of the floating dtype that the rewards have.

    Raises:
        ValueError: if a reward is not a finite number.
    """
    rewards = np.asarray(rewards)
    truth = rewards.astype(np.promote_types(rewards.dtype, np.float32))
    for report in (info, info.get("final_info", {})):
        if "true_reward" in report:
            said = report.get("_true_reward", slice(None))
            truth[said] = report["true_reward"][said]
    for row, own in enumerate(info.get(COPY_INFOS, ())):
        if "true_reward" in own:
            truth[row] = own["true_reward"]
    finite = np.isfinite(truth)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        _refuse(truth[row], f" in copy {row}")
    return truth


def keep_in_info(info: dict[str, Any], name: str, values: NDArray[Any], rows: NDArray[np.bool_]) -> None:
    """Put one value per row of a vector environment into a step's info, next to the mask that Gymnasium asks for.

    Args:
        info: of the step. Where it has a `final_info`, the values of the rows whose episode ended go there as well.
        name: the key; the mask's key is `_name`.
        values: (N,).
        rows: the rows for which the values mean something, (N,) bool.
    """
    info[name] = values
    info["_" + name] = rows
    if "final_info" in info:
        info["final_info"][name] = values
        info["final_info"]["_" + name] = rows & info["_final_info"]


def _refuse(reward: float, where: str = "") -> NoReturn:
    raise ValueError(f"The environment paid a reward of {reward}{where}; the true reward of every step must be finite.")
