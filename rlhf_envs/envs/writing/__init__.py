"""`rlhf/Writing-v0`: short notes, word by word; keywords are easy to count, good writing is not."""

from rlhf_envs.envs.writing.task import Writing

__all__ = ["Writing"]
