"""The window in which a person answers: clips on the researcher's own screen, judged with one hand."""

from rlhf_envs.feedback.window.app import (
    SMALLEST_SIZE,
    WindowFigures,
    label_in_window,
    measure_window,
    open_window,
)
from rlhf_envs.feedback.window.screen import QUESTIONS

__all__ = [
    "QUESTIONS",
    "SMALLEST_SIZE",
    "WindowFigures",
    "label_in_window",
    "measure_window",
    "open_window",
]
