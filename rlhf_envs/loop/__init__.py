"""The feedback loop, which knows nothing of the algorithm that trains the policy; `rlhf_envs.sb3` calls it."""

from rlhf_envs.loop.candidates import Candidates
from rlhf_envs.loop.choosing import SideSource
from rlhf_envs.loop.clip_length import ClipLength, about_clips, clip_length, frame_rate
from rlhf_envs.loop.config import FeedbackConfig
from rlhf_envs.loop.feedback_loop import FeedbackLoop
from rlhf_envs.loop.selection import SELECTION_RULES, SelectionRule
from rlhf_envs.loop.state import LoopState, RoundReport

__all__ = [
    "SELECTION_RULES",
    "Candidates",
    "ClipLength",
    "FeedbackConfig",
    "FeedbackLoop",
    "LoopState",
    "RoundReport",
    "SelectionRule",
    "SideSource",
    "about_clips",
    "clip_length",
    "frame_rate",
]
