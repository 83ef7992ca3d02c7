# SPDX-License-Identifier: Apache-2.0
"""A file that is made beside its place and takes it when all went well."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(out: Path, encoding: str | None = None) -> Iterator[Any]:
    """The open file, of bytes or, with an encoding, of text; an exception leaves nothing behind."""
    if not out.name:  # "." and "/"
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(out))
    fresh = out.with_name(f".{out.name}.new{os.getpid()}")
    try:
        with open(fresh, "x" if encoding else "xb", encoding=encoding) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(out)
    finally:
        fresh.unlink(missing_ok=True)
