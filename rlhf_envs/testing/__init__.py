"""Checks that any environment can be put through; the suite's own all pass them.

from rlhf_envs.testing import check_environment

check_environment("rlhf/Driving-v0")
"""

from rlhf_envs.testing.checking import CHECKS, CheckReport, check_environment
from rlhf_envs.testing.subject import EnvironmentCheckError

__all__ = ["CHECKS", "CheckReport", "EnvironmentCheckError", "check_environment"]
