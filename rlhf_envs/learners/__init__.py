"""Learners: algorithms of Stable-Baselines3 with their settings, as a training run builds, saves and restores them.

`LEARNERS` names them. One of your own is a class with a `build` method, see `Learner`; on the command line it is given
as `--learner module:Class`.
"""

from rlhf_envs.learners.learner import LEARNERS, Learner, find_learner
from rlhf_envs.learners.ppo import PPOConfig, PPOLearner

LEARNERS.register("ppo", PPOLearner())

__all__ = ["LEARNERS", "Learner", "PPOConfig", "PPOLearner", "find_learner"]
