#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The ranking of a split as it is usually written, to be set beside build/benchmarks/evaluate.

    benchmarks/evaluate_numpy.py FOLDER

Reads FOLDER/img_embs.npy and cap_embs.npy, makes the whole similarity matrix and sorts each row and each
column, as the published code sorts one after another. Prints the recalls, seconds and memory.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import printing  # noqa: E402


def recalls(ranks: np.ndarray) -> str:
    return " ".join(f"{100 * np.mean(ranks < k):.2f}" for k in (1, 5, 10))


def resident_megabytes(what: str) -> float:
    """VmRSS, memory that is resident now, or VmHWM, the most since 5 was written to clear_refs."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024e-6


def main() -> None:
    folder = Path(sys.argv[1])
    images, captions = np.load(folder / "img_embs.npy"), np.load(folder / "cap_embs.npy")
    each = len(captions) // len(images)
    before = resident_megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    similarity = images @ captions.T
    multiplied = time.perf_counter()
    i2t, t2i = np.zeros(len(images), int), np.zeros(len(captions), int)
    for i, row in enumerate(similarity):
        order = np.argsort(row)[::-1]
        i2t[i] = min(np.where(order == c)[0][0] for c in range(each * i, each * i + each))
    for c, column in enumerate(similarity.T):
        t2i[c] = np.where(np.argsort(column)[::-1] == c // each)[0][0]
    done = time.perf_counter()
    print(f"numpy {done - start:.3f} s, its product alone {multiplied - start:.3f} s, "
          f"{resident_megabytes('VmHWM') - before:.0f} MB beyond the embeddings")
    print(f"i2t {recalls(i2t)}  t2i {recalls(t2i)}")


if __name__ == "__main__":
    printing.is_the_result()
    main()
