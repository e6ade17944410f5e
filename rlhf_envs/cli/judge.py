"""Have people, or code, compare policies side by side without names."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import SCREENS, ScreenFlags, check_screen, parse
from rlhf_envs.evaluation.judging.session import PURPOSES, JudgingConfig, judge, judge_by_code
from rlhf_envs.feedback import ANNOTATORS, PreferenceStore
from rlhf_envs.report.judgement import print_judgement, write_judgement
from rlhf_envs.runs import RunDirectory, load_critic, write_json

FIGURES, PAGE = "judgement.json", "judgement.html"
"""The files that the command writes into the run's folder."""


@dataclass(frozen=True)
class Arguments:
    """Have people, or code, compare policies side by side without names.

    People see pairs of clips from equal starts. Closing the window, or Ctrl-C at the web page, ends the session; the
    same command goes on with the open comparisons. The figures and a page about all answers are written into the run's
    folder.

    Attributes:
        run_dir: the run whose policy is judged.
        against: what to compare it with: folders of other runs in the same environment, and the policies that need no
            training: random, idle (the constant action that earns most), and where the environment defines them
            expert and proxy.
        feedback: who judges: people in a "window" or on a "web" page; a scripted teacher by name, which knows the true
            reward; or a function of two clips of your own as "module:Name".
        critic: the folder of a finished run of the same environment with --reward true, by whose critic the teachers
            "regret" and "value" judge.
        judging: how policies are compared. On the command line these have no prefix.
        screen: the window and the web page. On the command line these have no prefix.
    """

    run_dir: Path
    against: tuple[str, ...] = ("random",)
    feedback: Annotated[str, tyro.conf.arg(metavar=ANNOTATORS.choices(*SCREENS))] = "window"
    critic: Annotated[Path | None, tyro.conf.arg(name="teacher.critic")] = None
    judging: Annotated[JudgingConfig, tyro.conf.arg(name="")] = field(default_factory=JudgingConfig)
    screen: Annotated[ScreenFlags, tyro.conf.arg(name="")] = field(default_factory=ScreenFlags)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    torch.set_num_threads(1)
    with one_sentence_errors():
        args = parse(Arguments, arguments, prog="rlhf-envs judge")
        args.screen.check()
        check_screen(args.feedback)
        console = Console()
        people = args.feedback in SCREENS
        if people and args.critic is not None:
            raise ValueError("--teacher.critic is for --feedback regret or value; people judge without.")
        critic = None
        if args.critic is not None:
            critic = load_critic(args.critic, RunDirectory(args.run_dir).read_environment())
        by_code = None if people else judge_by_code(args.feedback, critic)

        def collect_answers(store: PreferenceStore) -> None:
            if by_code is not None:
                by_code(store)
            elif args.feedback == "window":
                args.screen.open_window(store, PURPOSES)
            else:
                args.screen.serve_page(store, PURPOSES, args.run_dir / "clips")

        found = judge(args.run_dir, args.against, collect_answers, args.judging, needs_pictures=people, console=console)
        write_json(args.run_dir / FIGURES, found.to_json())
        page = write_judgement(found, args.run_dir / PAGE)
        print_judgement(found, console)
        console.print(f"The page: {page}", highlight=False, soft_wrap=True)
    return 0
