"""One sitting of judges: ask what is missing, have it answered, and tell what all answers say."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.progress import Progress

from agents.configuration import RunConfig
from agents.copies import FIRST_SEED
from agents.judging.answering import have_answered
from agents.judging.arena import Arena
from agents.judging.asking import ask, asked_before, open_judgements, planned
from agents.judging.config import JudgingConfig
from agents.judging.contenders import Contender, gather_contenders
from agents.judging.judgement import Judgement, judgement
from agents.judging.page import write_page
from agents.judging.pairs import concerned
from agents.judging.reward_model import model_figures
from agents.run_directory import RunDirectory, write_json
from rlhf_envs.feedback import PreferenceStore, Purpose, QueryCounts

FIGURES, PAGE = "judgement.json", "judgement.html"
"""The files that a judgement leaves in the run's folder."""


def judge(
    run_dir: str | os.PathLike[str],
    against: Sequence[str],
    config: JudgingConfig,
    seed: int = FIRST_SEED,
    console: Console | None = None,
) -> Judgement:
    """Have policies compared side by side, and write judgement.json and judgement.html into the run's folder.

    Judges see two clips that begin at the same moment of two episodes from the same start, on shuffled sides, and
    nothing that tells whose they are. The same call again goes on where the last one ended and asks nothing twice.

    Args:
        run_dir: a finished run.
        against: whom its policy meets: folders of other runs of the same task, and random, proxy and expert.
        config: who judges, how often, and what they see.
        seed: of the first start.
        console: told what happens.

    Raises:
        ValueError: if the settings, the runs or the policies do not fit; before anything is asked.
        RuntimeError: if people cannot be asked on this machine.
        StoreError: if the answers cannot be kept.
    """
    console = console or Console()
    config.check()
    directory = RunDirectory(run_dir)
    run, contenders = gather_contenders(directory.path, against)
    place = config.store or os.fspath(directory.path / "judgements.db")
    with Arena(run, config.clip_seconds, config.moments, config.human is not None) as arena:
        planned(contenders, config.comparisons, (), seed)  # refuses too few comparisons before a store is made
        with open_judgements(place, arena.environment) as store:
            matches = planned(contenders, config.comparisons, asked_before(store), seed)
            with Progress(console=console, transient=True) as progress:
                played = progress.add_task("playing from equal starts", total=len(matches))
                ask(store, matches, arena, seed, config.overlap, lambda: progress.advance(played))
            have_answered(store, config, directory.path / "clips", console)
            found = _found(store, directory, run, contenders, arena.length)
    write_json(directory.path / FIGURES, found.to_json())
    write_page(found, directory.path / PAGE)
    return found


def _found(
    store: PreferenceStore, directory: RunDirectory, run: RunConfig, contenders: Sequence[Contender], clip_steps: int
) -> Judgement:
    answers = store.live_answers(Purpose.JUDGE)
    about_them = concerned(answers, [contender.key for contender in contenders])
    model = model_figures(directory, run, store, about_them)
    still_open = store.counts().get(Purpose.JUDGE, QueryCounts()).open
    return judgement(run.env, clip_steps, contenders, answers, model, still_open)
