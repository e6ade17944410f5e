"""What people read and watch about a run: its report with charts, films of policies, the page of a judgement."""

from rlhf_envs.report.film import EpisodeRenderer, film
from rlhf_envs.report.judgement import print_judgement, write_judgement
from rlhf_envs.report.run_report import write_report

__all__ = ["EpisodeRenderer", "film", "print_judgement", "write_judgement", "write_report"]
