"""The commands that need no training, installed as `rlhf-envs`: one module each, imported when it is chosen."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import FrameType

import gymnasium as gym

from rlhf_envs.terminal import leave_terminal, printable, show_what_can_be_shown

COMMANDS = {
    "label": "answer the queries of a run, in a window or on a web page, or see how good the answers are",
    "evaluate": "compare a policy with others by their true return on fresh seeds",
    "judge": "let people compare policies side by side, without names",
    "watch": "watch a policy live or as a film, with its rewards drawn below",
    "demonstrate": "play an environment and record demonstrations",
    "archive": "export queries, answers and clips as files, or import them",
    "report": "write the report of a run again, or compare runs",
}
"""The commands by name, with what each does."""

BAD_INPUT = 2
"""Exit status of bad input, as argument parsers use it."""

INTERRUPTED = 130
"""Exit status of Ctrl-C, as shells use it."""

EXPECTED = (ValueError, RuntimeError, OSError, MemoryError, OverflowError, gym.error.Error)
"""What the library raises when it is asked for something that cannot be; a store's errors are RuntimeErrors."""

_PROGRAM = "rlhf-envs"
_STDERR = 2
_HANGUP = signal.SIGHUP

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the first argument names with the others; the exit status."""
    args = sys.argv[1:] if arguments is None else arguments
    if arguments is None and not sys.flags.safe_path and "" not in sys.path:
        # An environment in the current folder is found, as by `python -m`, but what is installed comes first.
        sys.path.append("")
    prepare_start()
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0 if args else BAD_INPUT
    name = args[0]
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(COMMANDS)}."
        print(f"Error: {_PROGRAM} has no command {name!r}; {hint}", file=sys.stderr)
        return BAD_INPUT
    status: int = import_module(f"rlhf_envs.cli.{name}").main(args[1:])
    return status


def prepare_start() -> None:
    """End the process quietly on Ctrl-C while a command is still being imported, which takes seconds.

    A shell that ignores Ctrl-C in the background, and a handler that was set before, are left alone.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop_at_once)


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """End the process on Ctrl-C, when there is nothing to close yet.

    No exception is raised, because it would come out of some import of somebody else's, who may catch it.
    """
    os.write(_STDERR, b"Stopped.\n")
    os._exit(INTERRUPTED)


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Turn expected errors into their message on stderr and exit status 2, and Ctrl-C into exit status 130.

    Any other error is a mistake in the program and keeps its traceback. `python -X dev` shows all tracebacks. From here
    on Ctrl-C is a KeyboardInterrupt again, so that everything is closed properly, and so is the end of the terminal
    (SIGHUP), unless that is ignored, as under nohup. What a terminal cannot show is shown as a question mark.

    Raises:
        SystemExit: in place of the error.
    """
    try:
        if signal.getsignal(signal.SIGINT) is stop_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(_HANGUP) is signal.SIG_DFL:
            signal.signal(_HANGUP, _interrupt)
        show_what_can_be_shown()
        yield
    except EXPECTED as error:
        if sys.flags.dev_mode:
            traceback.print_exc()
        print(f"Error: {sentence(error)}", file=sys.stderr)
        raise SystemExit(BAD_INPUT) from error
    except KeyboardInterrupt as interrupt:
        print("Stopped.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from interrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A terminal may say more than once that it is gone; the second time would come while all is being closed.
    signal.signal(_HANGUP, signal.SIG_IGN)
    leave_terminal()
    raise KeyboardInterrupt


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    last = f"{_PROGRAM} COMMAND --help explains a command."
    return "\n".join([f"usage: {_PROGRAM} COMMAND ...", "", "commands:", *lines, "", last])


def sentence(error: BaseException) -> str:
    """What an error says, on one line without anything that a terminal would act upon."""
    if isinstance(error, MemoryError):
        said = f"There is not enough memory for this{': ' if str(error) else ''}{error}."
    elif isinstance(error, OverflowError):
        said = f"A number is larger than what it is for can hold: {error}."
    elif isinstance(error, OSError) and error.strerror and error.filename is not None:
        said = f"{error.filename} cannot be used: {error.strerror.lower()}; name another place, or mend this one."
    else:
        said = str(error) or type(error).__name__
    return printable(said)
