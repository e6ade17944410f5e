"""Answer the queries of a run, in a window or on a web page, or see how good the answers are."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from rlhf_envs.cli import one_sentence_errors
from rlhf_envs.cli.flags import SCREENS, ScreenFlags, parse
from rlhf_envs.clips import clip_painter
from rlhf_envs.envs.registration import find_spec
from rlhf_envs.feedback import ANNOTATORS, PreferenceStore, StoreMissingError, make_annotator
from rlhf_envs.feedback.progress import says_finished
from rlhf_envs.feedback.store import QUEUE
from rlhf_envs.feedback.store.database import stores_in
from rlhf_envs.feedback.store.status import TRAINING
from rlhf_envs.queries import Purpose
from rlhf_envs.runs import RunDirectory, load_critic
from rlhf_envs.terminal import counted

_POLL_SECONDS = 0.3
_MEMBERS = 10
_ANY_SIZE = (60, 40)
_SHORT_SECONDS, _GOOD_SECONDS = 0.7, 1.5


@dataclass(frozen=True)
class Arguments:
    """Answer the queries of a run, in a window or on a web page, or see how good the answers are.

    The window: left and right choose, up says that both are equally good, down that you cannot tell, backspace takes
    back, space plays again, plus and minus change the speed, comma and period step, 1 to 9 give a reason, T changes the
    theme, escape closes. The web page has the same keys and serves any number of people at once, each by a personal
    link.

    Attributes:
        run_dir: the run's folder; give either this or --store.
        store: a store that belongs to no run: the path of its file, or the URL of a database that several machines
            share.
        all_runs: answer the queries of all runs whose stores are in schemas of the PostgreSQL database that --store
            names, those that begin later as well; on a web page, or by code.
        feedback: who answers: people in a "window" or on a "web" page; or code, until the command is stopped, besides
            whoever else answers: a scripted teacher by name, or an annotator of your own as "module:Name".
        critic: the folder of a finished run of the same environment with --reward true, by whose critic the teachers
            "regret" and "value" judge.
        screen: the window and the web page. On the command line these have no prefix.
        report: instead of asking, print how consistent, quick and reliable everybody is, and write quality.html and
            quality.json into the run's folder, beside the store's file, or for a database into the current folder.
        repeat_rate: how often, from 0 to 1, a pair is shown again to see whether it is answered alike.
        wait_seconds: how long to wait for a run that is just starting, or about to be started in this folder or on this
            store.
        until_finished: end with the training: code once everything is answered; the page once everybody who has it open
            has read how it ended, and the window once it is closed, or both 5 minutes later.
        until_gone: end as well when the process of this id, which started this one, has gone, however it ended; a
            training run that opens the window or the page gives its own.
    """

    run_dir: Path | None = None
    store: str | None = None
    all_runs: bool = False
    feedback: Annotated[str, tyro.conf.arg(metavar=ANNOTATORS.choices(*SCREENS))] = "window"
    critic: Annotated[Path | None, tyro.conf.arg(name="teacher.critic")] = None
    screen: Annotated[ScreenFlags, tyro.conf.arg(name="")] = field(default_factory=ScreenFlags)
    report: bool = False
    repeat_rate: float = 0.1
    wait_seconds: float = 60.0
    until_finished: bool = False
    until_gone: int | None = None


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    with one_sentence_errors():
        args = parse(Arguments, arguments, prog="rlhf-envs label")
        _check(args)
        if args.until_gone is not None:
            threading.Thread(target=_end_after, args=(args.until_gone,), daemon=True).start()
        if args.all_runs:
            _answer_all_runs(args)
            return 0
        with _open(args) as store:
            if args.report:
                _report(args, store)
            elif args.feedback == "window":
                _open_window(args, store)
            elif args.feedback == "web":
                _serve(args, store)
            else:
                _let_code_answer(args, store)
    return 0


def _check(args: Arguments) -> None:
    if (args.run_dir is None) == (args.store is None):
        raise ValueError(
            "Say whose queries to answer: either --run-dir with a run's folder, or --store with a path or URL."
        )
    if args.all_runs and (args.store is None or args.report or args.feedback == "window" or args.critic is not None):
        raise ValueError(
            "--all-runs needs --store with the URL of a PostgreSQL database, and --feedback web, or code that judges "
            "without --teacher.critic."
        )
    if args.all_runs and args.feedback == "web" and args.until_finished:
        raise ValueError("A page for all runs waits for those that begin later; stop it by Ctrl-C.")
    if args.report and args.feedback != "window":
        raise ValueError("--report asks nobody; leave --feedback out.")
    if args.feedback not in SCREENS:
        make_annotator(args.feedback, None if args.critic is None else RunDirectory(args.critic).load_critic())
    elif args.critic is not None:
        raise ValueError("--teacher.critic is for --feedback regret or value; people judge without.")
    args.screen.check()
    if not 0 <= args.repeat_rate <= 1:
        raise ValueError(f"repeat_rate is a share from 0 to 1, not {args.repeat_rate}.")
    if not args.wait_seconds >= 0:
        raise ValueError(f"wait_seconds must be 0 or more, not {args.wait_seconds}.")


def _end_after(parent: int) -> None:
    """Ask this process to end, as Ctrl-C would, once the one that started it has gone."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _open(args: Arguments) -> PreferenceStore:
    """The run's store, as soon as there is one."""
    directory = None if args.run_dir is None else RunDirectory(args.run_dir)
    give_up_at = time.monotonic() + (0 if args.report else args.wait_seconds)
    waiting = False
    while True:
        begun = directory is None or directory.config_path.exists()
        try:
            if directory is None:
                return PreferenceStore.open(args.store or "")
            if (reward := directory.read_settings().reward) != "learned":
                raise ValueError(f"The run in {directory.path} trains on the {reward} reward and asks for no answers.")
            return directory.open_store()
        except (StoreMissingError, ValueError) as failure:
            starting = not begun or isinstance(failure, StoreMissingError)
            if not starting or time.monotonic() >= give_up_at:
                raise
        if not waiting:
            where = f"in {args.run_dir}" if directory else f"on {args.store}"
            print(f"Waiting up to {args.wait_seconds:g} s for a run to start {where} ...", file=sys.stderr)
            waiting = True
        time.sleep(_POLL_SECONDS)


def _check_clips(store: PreferenceStore) -> None:
    """Refuse to ask people about segments that cannot be drawn here, and warn of clips too short to judge.

    Raises:
        ValueError: if the store does not name its environment, or it cannot be made here.
    """
    stored = store.environment
    if stored.ref is None:
        raise ValueError(f"{store.database.place} does not say which environment its segments are from, to show them.")
    find_spec(stored.id)
    try:
        rate = clip_painter(stored.ref, _ANY_SIZE).frames_per_second
    except Exception as error:  # whatever a third-party environment raises
        raise ValueError(f"{stored.id} cannot be made here, to show its segments: {error}") from error
    steps = stored.segment_length
    if steps is not None and steps < _SHORT_SECONDS * rate:
        print(
            f"The clips last {steps / rate:.1f} s each, which is hard to judge: the minus key plays them slower, and a "
            f"run with --clip-seconds {_GOOD_SECONDS:g} would show longer ones.",
            file=sys.stderr,
        )


def _open_window(args: Arguments, store: PreferenceStore) -> None:
    _check_clips(store)
    session = args.screen.open_window(store, QUEUE, args.repeat_rate, args.until_finished)
    answers = session.progress().own_answers
    are = "is" if answers == 1 else "are"
    print(f"{counted(answers, 'answer')} by {args.screen.name} {are} in the store.")


def _let_code_answer(args: Arguments, store: PreferenceStore) -> None:
    critic = None if args.critic is None else load_critic(args.critic, store.environment.required)
    annotator: Any = make_annotator(args.feedback, critic)
    if args.screen.annotator:
        annotator.name = args.screen.annotator
    kinds = getattr(annotator, "kinds", None)
    what = "" if kinds is None else f" {' and '.join(kinds)} queries"
    until = "the training has finished" if args.until_finished else "it is stopped (Ctrl-C)"
    print(f"The annotator {args.screen.annotator or args.feedback} answers{what} until {until}.", flush=True)
    while True:
        if _serve_once(annotator, store) and args.until_finished:
            return
        time.sleep(_POLL_SECONDS)


def _answer_all_runs(args: Arguments) -> None:
    """Let people on a web page, or code, answer in all stores of a database until the command is stopped."""
    screen, database = args.screen, args.store or ""
    if args.feedback == "web":
        from rlhf_envs.feedback.web import serve_several

        serve_several(
            database,
            annotators=screen.annotators or (screen.name,),
            renew=screen.renew,
            clip_folder=_clip_folder(args) / "clips",
            host=screen.host,
            port=screen.port,
            repeat_rate=args.repeat_rate,
            base_url=screen.url,
        )
        return
    annotator: Any = make_annotator(args.feedback)
    if screen.annotator:
        annotator.name = screen.annotator
    until = "all trainings have finished" if args.until_finished else "it is stopped (Ctrl-C)"
    print(f"The annotator {screen.annotator or args.feedback} answers in all runs until {until}.", flush=True)
    with ExitStack() as opened:
        stores: dict[str, PreferenceStore] = {}
        while True:
            for place in stores_in(database):
                if place not in stores:
                    stores[place] = opened.enter_context(PreferenceStore.open(place))
            finished = [_serve_once(annotator, store) for store in stores.values()]
            if args.until_finished and finished and all(finished):
                return
            time.sleep(_POLL_SECONDS)


def _serve_once(annotator: Any, store: PreferenceStore) -> bool:
    """Answer what is open; whether that was all, as the training has finished."""
    # Read before answering: what a run asks last, it asks before it says that it has finished.
    status = store.statuses().get(TRAINING)
    annotator.serve(store)
    return says_finished(status)


def _serve(args: Arguments, store: PreferenceStore) -> None:
    from rlhf_envs.feedback.web.tokens import Tokens

    _check_clips(store)
    known = {person.name for person in Tokens(store).people()} | set(args.screen.annotators)
    for name in args.screen.renew:
        if name not in known:
            raise ValueError(f"{name!r} has no link that could be renewed; --annotators gives a first one.")
    args.screen.serve_page(store, QUEUE, _clip_folder(args) / "clips", args.repeat_rate, args.until_finished)


def _report(args: Arguments, store: PreferenceStore) -> None:
    from rlhf_envs.feedback.quality import print_quality, quality_report, write_quality_report
    from rlhf_envs.rewards import EnsembleConfig, RewardEnsemble
    from rlhf_envs.rewards.joint_fitting import estimate_from_answers

    run = RunDirectory(args.run_dir) if args.run_dir is not None else None
    model = run.load_reward_model() if run is not None and run.reward_model_path.exists() else None
    reliability = None
    if model is not None:
        # A fresh model of many members, each fitted to other answers: what it says of an answer that it has not seen
        # tells most about who gave it.
        encoder = model.encoder
        spaces = (encoder.observation_space, encoder.action_space)
        fresh = RewardEnsemble(*spaces, EnsembleConfig(members=_MEMBERS), absorbing=encoder.absorbing)
        reliability = estimate_from_answers(store.each_live_answer(Purpose.TRAIN), store, fresh)
    report = quality_report(store.each_live_answer(), reliability)
    print_quality(report, Console())
    if report.answers:
        page = write_quality_report(report, _report_folder(args, store) / "quality.html")
        write_quality_report(report, page.with_suffix(".json"))
        print(f"Report: {page}")


def _report_folder(args: Arguments, store: PreferenceStore) -> Path:
    """The run's folder, or else that of the store's file, or for a database the current one."""
    if args.run_dir is not None:
        return args.run_dir
    place = Path(store.database.place)
    return place.parent if place.is_file() else Path.cwd()


def _clip_folder(args: Arguments) -> Path:
    """The folder for clips: the run's, or without one the user's cache."""
    if args.run_dir is not None:
        return args.run_dir
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlhf-envs"
    cache.mkdir(parents=True, exist_ok=True)
    return cache
