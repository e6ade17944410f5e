"""A multi-lane road seen from above: get along in traffic without frightening anybody."""

from __future__ import annotations

from rlhf_envs.envs.driving.rules import Driving
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class DrivingEnv(TaskEnv):
    task_class = Driving


class DrivingVectorEnv(TaskVectorEnv):
    task_class = Driving


__all__ = ["Driving", "DrivingEnv", "DrivingVectorEnv"]
