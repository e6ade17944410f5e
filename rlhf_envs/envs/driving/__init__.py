"""`rlhf/Driving-v0`: a busy road; speed is easy to count, a ride that nobody minds is not."""

from __future__ import annotations

from rlhf_envs.envs.driving.task import Driving
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class DrivingEnv(TaskEnv):
    """One road."""

    task_class = Driving


class DrivingVectorEnv(TaskVectorEnv):
    """Many roads at once."""

    task_class = Driving


__all__ = ["Driving", "DrivingEnv", "DrivingVectorEnv"]
