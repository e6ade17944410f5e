"""`rlhf/Glimpse-v0`: digits seen piece by piece; fast answers are easy to count, careful reading is not."""

from rlhf_envs.envs.glimpse.task import Glimpse

__all__ = ["Glimpse"]
