"""Environments and tools for reinforcement learning from human feedback.

Importing this package registers the suite's environments, so that `gymnasium.make("rlhf/Driving-v1")` works.
"""

from rlhf_envs.envs.registration import register_environments

__version__ = "0.1.0"

register_environments()

__all__ = ["__version__", "register_environments"]
