# SPDX-License-Identifier: Apache-2.0
"""A NumPy array in a file (.npy): mapped, and nothing else that `numpy.load` would take, such as pickles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import wrong_file


class NpyError(Exception):
    """What is wrong with a file, in one line that names it."""


def read(path: Path) -> np.ndarray[Any, Any]:
    """Numbers, of one row or more."""
    try:
        with np.errstate(all="ignore"):
            rows = np.lib.format.open_memmap(path, mode="r")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy and Python's parser raise whatever they like at a damaged header
        kind = wrong_file.kind(path)
        found = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'cut short'}"
        if kind and not kind.startswith("a NumPy array"):
            found = kind
        raise NpyError(f"{path}: {found[:200]}; expected a whole .npy of numbers") from None
    if rows.dtype.kind not in "fiu" or rows.ndim == 0 or len(rows) == 0:
        raise NpyError(f"{path}: an array {rows.shape} of {rows.dtype}, expected one row or more of numbers")
    return rows
