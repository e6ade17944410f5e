"""Write the report of a finished run again, or set finished runs side by side."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import parse
from rlhf_envs.report.comparison import compare_runs, print_comparison, write_comparison
from rlhf_envs.report.run_report import write_report
from rlhf_envs.runs import RunDirectory

_COMPARE = "compare"


@dataclass(frozen=True)
class Arguments:
    """Write report.html and film.mp4 of a finished run again, such as after more answers to held-out queries.

    `rlhf-envs report compare DIR DIR ...` sets finished runs side by side.

    Attributes:
        run_dir: the run's folder.
    """

    run_dir: Path


@dataclass(frozen=True)
class CompareArguments:
    """Set finished runs side by side, with intervals over seeds, and write comparison.html, .json and .csv.

    Runs that differ in their seeds only count as repetitions of one setting. What is compared is the true return, its
    score between doing nothing useful and a reference, accuracy and correlation of the reward model, and time.

    Attributes:
        run_dirs: the folders of the runs; the first one's settings are what others are compared with.
        out: the folder for the page and its figures.
    """

    run_dirs: tyro.conf.Positional[tuple[Path, ...]]
    out: Path = Path("comparison")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    torch.set_num_threads(1)
    with one_sentence_errors():
        if words[:1] == [_COMPARE]:
            _compare(parse(CompareArguments, words[1:], prog=f"rlhf-envs report {_COMPARE}"))
        else:
            args = parse(Arguments, words, prog="rlhf-envs report")
            print(f"Report: {write_report(RunDirectory(args.run_dir))}")
    return 0


def _compare(args: CompareArguments) -> None:
    console = Console()
    groups = compare_runs(args.run_dirs)
    page = write_comparison(groups, args.out)
    print_comparison(groups, console)
    console.print(f"The page: {page}", highlight=False, soft_wrap=True)
