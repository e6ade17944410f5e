"""Policies compared side by side, from equal starts and without names, by people or by a scripted judge."""

from agents.judging.config import JudgingConfig
from agents.judging.judgement import Judgement
from agents.judging.printing import print_judgement
from agents.judging.sitting import FIGURES, PAGE, judge

__all__ = ["FIGURES", "PAGE", "Judgement", "JudgingConfig", "judge", "print_judgement"]
