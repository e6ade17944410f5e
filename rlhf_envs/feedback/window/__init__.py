"""The window in which a person answers: clips on the researcher's own screen, judged with one hand."""

from rlhf_envs.feedback.window.labelling import label_in_window
from rlhf_envs.feedback.window.rehearsal import rehearse
from rlhf_envs.feedback.window.timing import WindowFigures

__all__ = ["WindowFigures", "label_in_window", "rehearse"]
