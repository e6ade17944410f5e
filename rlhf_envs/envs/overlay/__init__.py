"""`rlhf/Overlay-v0`: labels in augmented reality; how near they are is easy to count, how tidy they are is not."""

from __future__ import annotations

from rlhf_envs.envs.overlay.task import Overlay
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class OverlayEnv(TaskEnv):
    """One pair of glasses."""

    task_class = Overlay


class OverlayVectorEnv(TaskVectorEnv):
    """Many pairs of glasses at once."""

    task_class = Overlay


__all__ = ["Overlay", "OverlayEnv", "OverlayVectorEnv"]
