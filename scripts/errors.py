"""How the commands tell of what went wrong: one sentence, no traceback, a non-zero exit status."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium as gym

from scripts import INTERRUPTED, stop_at_once

BAD_INPUT = 2
"""Exit status of bad input, as argument parsers use it."""

EXPECTED = (ValueError, RuntimeError, OSError, gym.error.Error)
"""What the library raises when it is asked for something that cannot be; a store's errors are RuntimeErrors."""


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Turn expected errors into their message on stderr and exit status 2, and Ctrl-C into exit status 130.

    Any other error is a mistake in the program and keeps its traceback. `python -X dev` shows all tracebacks. From here
    on Ctrl-C is a KeyboardInterrupt again, so that whatever has been begun is put away.

    Raises:
        SystemExit: in place of the error.
    """
    try:
        if signal.getsignal(signal.SIGINT) is stop_at_once:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    except EXPECTED as error:
        if sys.flags.dev_mode:
            traceback.print_exc()
        print(f"Error: {_sentence(error)}", file=sys.stderr)
        raise SystemExit(BAD_INPUT) from error
    except KeyboardInterrupt as interrupt:
        print("Stopped.", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from interrupt


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename} cannot be used: {error.strerror.lower()}; name another place, or mend this one."
    return " ".join(str(error).split()) or type(error).__name__
