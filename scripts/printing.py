# SPDX-License-Identifier: Apache-2.0
"""What a script prints, where nobody reads it any more (`| head`, a closed terminal, a full disk).

A script says one of the two as it starts, according to what its result is.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What would make a line several, or move the cursor.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def _name() -> str:
    return Path(sys.argv[0]).name


def refuse(error: Exception) -> int:
    """Says in one line what is wrong, whatever is in the names that it names; the exit status."""
    text = CONTROL.sub(lambda char: repr(char[0])[1:-1], str(error))
    print(f"{_name()}: {text}", file=sys.stderr)
    return 2


class _Stream:
    """A stream of which it is known what to do when it cannot be written to."""

    def __init__(self, stream: Any, fail: Callable[[Any, OSError], None]) -> None:
        self.stream = stream
        self.fail = fail

    def _attempt(self, action: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return action(*arguments)
        except OSError as error:
            return self.fail(self.stream, error)

    def write(self, text: str) -> Any:
        return self._attempt(self.stream.write, text)

    def flush(self) -> None:
        self._attempt(self.stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _write_nowhere(stream: Any, _: OSError) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say_and_write_nowhere(stream: Any, error: OSError) -> None:
    _write_nowhere(stream, error)
    print(f"{_name()}: nothing more can be printed ({error.strerror}): the work goes on", file=sys.stderr)


def _end(_: Any, error: OSError) -> None:
    print(f"{_name()}: standard output: {error.strerror}", file=sys.stderr, flush=True)
    os._exit(2)


def _handle(stream: Any, fail: Callable[[Any, OSError], None]) -> Any:
    """The stream, written out before Python itself would do it at the end; None stays None."""
    if stream:
        stream = _Stream(stream, fail)
        atexit.register(stream.flush)
    return stream


def is_beside_the_work() -> None:
    """The result is files, or an exit status: the script goes on to its end, to the same status."""
    sys.stderr = _handle(sys.stderr, _write_nowhere)
    sys.stdout = _handle(sys.stdout, _say_and_write_nowhere)


def is_the_result() -> None:
    """Without a reader the script ends by SIGPIPE, as `cat` does; what cannot be printed for another reason is
    an error (exit status 2)."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.stdout = _handle(sys.stdout, _end)
