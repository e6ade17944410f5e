"""`rlhf/Headset-v0`: a ride in virtual reality; motion thrills at once, sickness comes later, and not to all alike."""

from __future__ import annotations

from rlhf_envs.envs.headset.task import Headset
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class HeadsetEnv(TaskEnv):
    """One ride."""

    task_class = Headset


class HeadsetVectorEnv(TaskVectorEnv):
    """Many rides at once."""

    task_class = Headset


__all__ = ["Headset", "HeadsetEnv", "HeadsetVectorEnv"]
