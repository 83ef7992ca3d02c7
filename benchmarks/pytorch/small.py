#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What build/benchmarks/small measures, of PyTorch: the same operations, sizes and lines.

    benchmarks/pytorch/small.py [THREADS]          default 1
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import printing  # noqa: E402

SAMPLES, LEAST = 11, 0.02
OPERATIONS: list[tuple[str, Callable[..., Tensor], list[tuple[int, ...]]]] = [
    ("add 8", torch.add, [(8,), (8,)]),
    ("add 64", torch.add, [(64,), (64,)]),
    ("add 1k", torch.add, [(1024,), (1024,)]),
    ("add 64k", torch.add, [(65536,), (65536,)]),
    ("matmul 8x8", torch.matmul, [(8, 8), (8, 8)]),
    ("linear 8x64 to 64", functional.linear, [(8, 64), (64, 64), (64,)]),
    ("softmax 8x64", lambda x: torch.softmax(x, -1), [(8, 64)]),
]


def seconds_of(call: Callable[[], None], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - start


def nanoseconds(call: Callable[[], None]) -> float:
    """Of one call: the median of samples of as many calls as take LEAST seconds."""
    seconds_of(call, 10)
    count = int(LEAST / (seconds_of(call, 10) / 10)) + 1
    return 1e9 * statistics.median(seconds_of(call, count) / count for _ in range(SAMPLES))


def measure(name: str, function: Callable[..., Tensor], shapes: list[tuple[int, ...]]) -> None:
    inputs = [torch.randn(shape, requires_grad=True) for shape in shapes]
    gradient = torch.ones_like(function(*inputs))

    def forward() -> None:
        with torch.no_grad():
            function(*inputs)

    def both() -> None:
        function(*inputs).backward(gradient)
        for x in inputs:
            x.grad = None

    print(f"{name:20s} {nanoseconds(forward):10.0f} {nanoseconds(both):10.0f}")


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"{'nanoseconds of':20s} {'forward':>10s} {'both':>10s}")
    for operation in OPERATIONS:
        measure(*operation)


if __name__ == "__main__":
    printing.is_the_result()
    main()
