"""Ctrl-C on the command line where Python itself would answer with a traceback.

While the package is imported, and after a command has come to its end, nothing has to be put in
order: the process says one line at most and is gone. In between Ctrl-C is a ``KeyboardInterrupt``,
which the command line answers. In any other program all of this does nothing.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

#: Exit code after Ctrl-C: 128 and the signal's number.
INTERRUPTED = 130


def is_command_line() -> bool:
    """Whether this process was started as ``persim-gym`` or ``python -m persim_gym``."""
    words = sys.orig_argv[:8]
    names = [os.path.splitext(os.path.basename(word))[0] for word in words[:2]]
    return "persim-gym" in names or ("-m", "persim_gym") in itertools.pairwise(words)


def leave_at_once(line: str = "") -> None:
    """From here on Ctrl-C ends the process at once, with a line if one is given."""

    def leave(*_: Any) -> None:
        if line:
            os.write(2, f"interrupted: {line}\n".encode())
        os._exit(INTERRUPTED)

    # Who runs a command in the background may have it ignore Ctrl-C.
    if is_command_line() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, leave)


def raise_again() -> None:
    """From here on Ctrl-C is a ``KeyboardInterrupt`` again."""
    if is_command_line() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
