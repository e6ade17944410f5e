"""`rlhf/Overlay-v0`: labels in augmented reality; how near they are is easy to count, how tidy they are is not."""

from rlhf_envs.envs.overlay.task import Overlay

__all__ = ["Overlay"]
