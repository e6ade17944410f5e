"""`rlhf/Rival-v0`: the computer's side of an arcade duel; winning is easy to count, a good match is not."""

from rlhf_envs.envs.rival.task import Rival

__all__ = ["Rival"]
