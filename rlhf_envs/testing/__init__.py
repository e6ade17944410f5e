"""Checks for any environment; the suite's own all pass them.

from rlhf_envs.testing import check_environment

check_environment("rlhf/Driving-v0")
"""

from rlhf_envs.testing.checking import CheckReport, check_environment
from rlhf_envs.testing.checks import CHECKS, EnvironmentCheckError

__all__ = ["CHECKS", "CheckReport", "EnvironmentCheckError", "check_environment"]
