"""What people read and watch about a run: its report with charts, films of policies, the page of a judgement."""

from rlhf_envs.report.film import film
from rlhf_envs.report.run_report import write_report

__all__ = ["film", "write_report"]
