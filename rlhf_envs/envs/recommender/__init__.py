"""`rlhf/Recommender-v0`: a reader's feed; clicks are easy to count, a satisfied reader is not."""

from rlhf_envs.envs.recommender.task import Recommender

__all__ = ["Recommender"]
