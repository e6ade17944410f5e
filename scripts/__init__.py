"""The command line, one module per command: `python -m scripts.train --help`.

This file runs before a command imports what takes seconds, and arranges what has to hold meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130
"""Exit status of Ctrl-C, as shells use it."""

_STDERR = 2


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """End the process on Ctrl-C while a command is still being imported, when there is nothing to put away.

    No exception is raised, because it would come out of some import of somebody else's, who may catch it.
    """
    os.write(_STDERR, b"Stopped.\n")
    os._exit(INTERRUPTED)


os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

# So a program is called until its own file has been found, for which Python imports its package first. Whoever imports
# this package for anything else keeps their signals, and so does a shell that ignores Ctrl-C in the background.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop_at_once)
