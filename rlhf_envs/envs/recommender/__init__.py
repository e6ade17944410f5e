"""`rlhf/Recommender-v0`: a feed chooses what a reader sees next; clicks are easy to count, a good evening is not."""

from __future__ import annotations

from rlhf_envs.envs.recommender.task import Recommender
from rlhf_envs.envs.scalar import TaskEnv
from rlhf_envs.envs.vector import TaskVectorEnv


class RecommenderEnv(TaskEnv):
    """One reader."""

    task_class = Recommender


class RecommenderVectorEnv(TaskVectorEnv):
    """Many readers at once."""

    task_class = Recommender


__all__ = ["Recommender", "RecommenderEnv", "RecommenderVectorEnv"]
