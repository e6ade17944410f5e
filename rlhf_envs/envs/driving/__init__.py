"""`rlhf/Driving-v0`: a busy road; speed is easy to count, considerate driving is not."""

from rlhf_envs.envs.driving.task import Driving

__all__ = ["Driving"]
