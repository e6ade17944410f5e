"""The feedback loop, which knows nothing of the algorithm that trains the policy; `rlhf_envs.sb3` calls it."""

from rlhf_envs.loop.config import FeedbackConfig
from rlhf_envs.loop.feedback_loop import FeedbackLoop
from rlhf_envs.loop.progress import LoopState, RoundReport

__all__ = ["FeedbackConfig", "FeedbackLoop", "LoopState", "RoundReport"]
