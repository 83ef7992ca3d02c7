# SPDX-License-Identifier: Apache-2.0
"""Memory for NumPy and Pillow, asked for before they do.

Without memory OpenBLAS asks for it again and again, forever, and Python waits forever for a thread that had none to
begin with. So a script calls `begin` before it imports them, and they have all threads and buffers when it returns.
What runs out of memory later on ends the script by a sentence, too, wherever it is.
"""

from __future__ import annotations

import errno
import mmap
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, NoReturn

# Address space in MiB, measured on x86-64 with Debian 12's packages and rounded up: libraries and the buffers of a
# product of matrices 350; each further thread of OpenBLAS 130; a thread of Python's, its stack.
ALONE, EACH_THREAD, STACK = 448, 160, 32
# The loader's words, and Python's for a thread.
NO_MEMORY = re.compile("failed to map segment|cannot (allocate memory|map|create)|can't start new thread", re.IGNORECASE)
MOST, KEPT = 1 << 16, 16  # of what is promised; what is not, for all that is small

threads = 1  # that there is memory for
spare = [bytearray(1 << 20)]  # let go where there is no other for the sentence
left = 0  # MiB that are promised to nobody
of_left = Lock()


def is_there(mebibytes: int) -> bool:
    try:
        mmap.mmap(-1, mebibytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def is_lack(error: BaseException) -> bool:
    """Whether it is one of memory."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, MemoryError) or isinstance(error, (ImportError, RuntimeError)) and bool(NO_MEMORY.search(str(error)))


def say(doing: str) -> None:
    print(f"{Path(sys.argv[0]).name}: out of memory {doing}: end other programs, raise the limit (ulimit -v) or "
          "give it less at once", file=sys.stderr, flush=True)


def stop(doing: str) -> NoReturn:
    """The sentence, and status 2."""
    say(doing)
    sys.exit(2)


def watch(doing: str) -> None:
    """From now on a lack of memory that nothing else takes ends the script as `stop` does."""

    def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not is_lack(error):
            return sys.__excepthook__(kind, error, trace)
        spare.clear()
        say(doing)
        os._exit(2)  # Python itself would end with 1

    sys.excepthook = end


def begin(doing: str, pillow: bool) -> None:
    """Watches, and loads NumPy, and Pillow if it is needed, with a thread for each processor, or with one; without
    memory for one the script ends."""
    global threads
    watch(doing)
    what = "NumPy and Pillow" if pillow else "NumPy"
    threads = len(os.sched_getaffinity(0))
    if not is_there(ALONE + EACH_THREAD * threads):
        threads = 1
        os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
        if not is_there(ALONE):
            stop(f"for {what}, which take {ALONE} MiB")
    try:
        import numpy as np

        if pillow:
            from PIL import Image

            Image.init()  # all formats: one that cannot be loaded later on would be no format
    except (ImportError, MemoryError) as error:
        if not is_lack(error):
            raise
        stop(f"while {what} were loaded")
    square = np.ones((512, 512), dtype=np.float32)
    square @ square


def measure() -> None:
    """Sets what can be promised."""
    global left
    left = MOST
    while left > 0 and not is_there(left):
        left = left * 7 // 8
    left -= KEPT


@contextmanager
def promised(mebibytes: int) -> Iterator[None]:
    """Memory for what does not ask whether it got some; a MemoryError where it is not there or is another thread's."""
    global left
    with of_left:
        if mebibytes > left:
            raise MemoryError
        left -= mebibytes
    try:
        yield
    finally:
        with of_left:
            left += mebibytes


def in_threads(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    """[work(item)], which is not None, by several threads. What one of them could not do is done again by the caller's:
    it raises what work does."""
    answers: list[Any] = [None] * len(items)
    places = iter(range(len(items)))
    started = Event()

    def some() -> None:
        try:
            started.wait()
            for place in places:
                answers[place] = work(items[place])
        except BaseException:  # of any kind: done again below
            pass

    workers = []
    while len(workers) < min(threads, len(items)) and is_there(STACK):  # none works yet: what is there stays there
        worker = Thread(target=some, daemon=True)
        try:
            worker.start()
        except RuntimeError:  # no more threads are allowed
            break
        workers.append(worker)
    measure()
    started.set()
    for worker in workers:
        worker.join()
    return [work(item) if answer is None else answer for item, answer in zip(items, answers)]
