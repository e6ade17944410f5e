"""Have people, or a scripted judge, compare policies side by side without names."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from agents.judging_session import JudgingConfig, judge
from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.evaluation.episodes import FIRST_SEED
from rlhf_envs.report.judgement import print_judgement, write_judgement
from rlhf_envs.runs import write_json

FIGURES, PAGE = "judgement.json", "judgement.html"
"""The files that the command writes into the run's folder."""


@dataclass(frozen=True)
class Arguments:
    """Have people, or a scripted judge, compare policies side by side without names.

    The answers are stored, and the figures and a page about them are written into the run's folder.

    Attributes:
        run_dir: the run whose policy is judged.
        against: what to compare it with: folders of other runs in the same environment, and the policies that need no
            training: random, and in the suite's environments expert and proxy.
        seed: of the first episode.
        judging: how policies are compared. On the command line these have no prefix.
    """

    run_dir: Path
    against: tuple[str, ...] = ("random",)
    seed: int = FIRST_SEED
    judging: Annotated[JudgingConfig, tyro.conf.arg(name="")] = field(default_factory=JudgingConfig)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    torch.set_num_threads(1)
    with one_sentence_errors():
        given = tyro.cli(Arguments, args=arguments, prog="python -m scripts.judge")
        console = Console()
        found = judge(given.run_dir, given.against, given.judging, given.seed, console)
        write_json(given.run_dir / FIGURES, found.to_json())
        page = write_judgement(found, given.run_dir / PAGE)
        print_judgement(found, console)
        console.print(f"The page: {page}", highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
