# SPDX-License-Identifier: Apache-2.0
"""Memory for NumPy and Pillow, asked for before they do.

Without memory OpenBLAS asks for it again and again, forever, and Python waits forever for a thread that had none to
begin with. So a script calls `begin` before it imports them, and they have all threads and buffers when it returns.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NoReturn

# Address space in MiB, measured on x86-64 with Debian 12's packages and rounded up: libraries and the buffers of a
# product of matrices 350; each further thread of OpenBLAS 130; a thread of Python's, its stack.
ALONE, EACH_THREAD, STACK = 448, 160, 32
NO_MEMORY = re.compile("failed to map segment|cannot allocate memory", re.IGNORECASE)  # the loader's words
MOST, KEPT = 1 << 16, 16  # of what is promised; what is not, for all that is small

threads = 1  # that there is memory for
left = 0  # MiB that are promised to nobody
of_left = Lock()


def is_there(mebibytes: int) -> bool:
    try:
        mmap.mmap(-1, mebibytes << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def stop(doing: str) -> NoReturn:
    """The sentence, and status 2."""
    print(f"{Path(sys.argv[0]).name}: out of memory {doing}: end other programs, raise the limit (ulimit -v) or "
          "give it less at once", file=sys.stderr)
    sys.exit(2)


def begin() -> None:
    """Loads NumPy and Pillow with a thread for each processor, or with one; without memory for one the script ends."""
    global threads
    threads = len(os.sched_getaffinity(0))
    if not is_there(ALONE + EACH_THREAD * threads):
        threads = 1
        os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
        if not is_there(ALONE):
            stop(f"for NumPy and Pillow, which take {ALONE} MiB")
    try:
        import numpy as np
        from PIL import Image

        Image.init()  # all formats: one that cannot be loaded later on would be no format
    except (ImportError, MemoryError) as error:
        if isinstance(error, ImportError) and not NO_MEMORY.search(str(error)):
            raise
        stop("while NumPy and Pillow were loaded")
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
