"""Write the report of a finished run again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import parse
from rlhf_envs.report.run_report import write_report
from rlhf_envs.runs import RunDirectory


@dataclass(frozen=True)
class Arguments:
    """Write report.html and film.mp4 of a finished run again, such as after more answers to held-out queries.

    Attributes:
        run_dir: the run's folder.
    """

    run_dir: Path


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    torch.set_num_threads(1)
    with one_sentence_errors():
        args = parse(Arguments, arguments, prog="rlhf-envs report")
        print(f"Report: {write_report(RunDirectory(args.run_dir))}")
    return 0
