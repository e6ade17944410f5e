"""Has the open comparisons answered: by a person at the window, by people on the web page, or by a scripted judge."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from agents.judging.config import JudgingConfig
from rlhf_envs.feedback import TEACHERS, AnnotatorSession, PreferenceStore, Purpose, QueryCounts, ScriptedTeacher
from rlhf_envs.feedback.status import TRAINING

PURPOSES = (Purpose.JUDGE,)
_AT_ONCE = 100


def have_answered(store: PreferenceStore, config: JudgingConfig, clip_folder: Path, console: Console) -> None:
    """Have what is open answered, until everything is or whoever answers leaves.

    Args:
        store: of the judgements.
        config: who answers, and where.
        clip_folder: where the web page keeps its films.
        console: told what happens.
    """
    if store.counts().get(Purpose.JUDGE, QueryCounts()).open == 0:
        console.print("Every comparison has been answered; --comparisons with a larger number asks more.")
        return
    # Every screen says by this when the last question was answered that nothing more will come.
    store.post_status(TRAINING, {"state": "finished"})
    if config.judge is not None:
        _judge_by_script(store, config.judge)
    elif config.human == "web":
        _serve(store, config, clip_folder)
    else:
        _show(store, config)


def _judge_by_script(store: PreferenceStore, name: str) -> None:
    teacher = ScriptedTeacher(TEACHERS[name], name)
    while taken := store.take_many(teacher.name, _AT_ONCE, purposes=PURPOSES):
        store.answer_many([teacher.answer(query) for query in taken])


def _show(store: PreferenceStore, config: JudgingConfig) -> None:
    from rlhf_envs.feedback.window import label_in_window

    label_in_window(AnnotatorSession(store, config.person, purposes=PURPOSES), theme=config.theme)


def _serve(store: PreferenceStore, config: JudgingConfig, clip_folder: Path) -> None:
    from rlhf_envs.feedback.web import serve

    serve(
        store,
        annotators=config.annotators or (config.person,),
        renew=config.renew,
        clip_folder=clip_folder,
        host=config.host,
        port=config.port,
        purposes=PURPOSES,
    )
