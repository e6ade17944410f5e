"""`rlhf/Support-v0`: a support desk; closed tickets are easy to count, solved ones are not."""

from rlhf_envs.envs.support.task import Support

__all__ = ["Support"]
