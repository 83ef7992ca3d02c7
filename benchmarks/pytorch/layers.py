#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What build/benchmarks/layers measures, of PyTorch: the same layers, sizes, steps and commands.

    layers.py gru|mlp eager|compiled THREADS
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

WIDTH, SEQUENCES, LENGTH, SMALL, CLASSES, WARM_UP = 1024, 128, 36, 64, 10, 3


def gru(compiled: bool) -> Callable[[], None]:
    layer = nn.GRU(WIDTH, WIDTH, batch_first=True)
    run = torch.compile(layer) if compiled else layer
    x = torch.randn(SEQUENCES, LENGTH, WIDTH, requires_grad=True)
    gradient = torch.ones(SEQUENCES, LENGTH, WIDTH)

    def step() -> None:
        run(x)[0].backward(gradient)
        x.grad = None
        layer.zero_grad(set_to_none=True)

    return step


def mlp(compiled: bool) -> Callable[[], None]:
    widths = [SMALL, SMALL, SMALL, SMALL, CLASSES]
    layers = [layer for i in range(4) for layer in (nn.Linear(widths[i], widths[i + 1]), nn.ReLU())][:-1]
    net = nn.Sequential(*layers)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    x, labels = torch.randn(SMALL, SMALL), torch.arange(SMALL) % CLASSES

    def losses() -> torch.Tensor:
        return F.cross_entropy(net(x), labels)

    run = torch.compile(losses) if compiled else losses

    def step() -> None:
        adam.zero_grad(set_to_none=True)
        run().backward()
        adam.step()

    return step


def seconds(step: Callable[[], None], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def main() -> None:
    name, how, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    step = {"gru": gru, "mlp": mlp}[name](how == "compiled")
    seconds(step, WARM_UP)
    print(json.dumps({"ready": True, "torch": torch.__version__}), flush=True)
    for line in sys.stdin:
        count, samples = (int(n) for n in line.split()[1:])  # "step COUNT SAMPLES"
        print(json.dumps({"seconds": [seconds(step, count) for _ in range(samples)]}), flush=True)


if __name__ == "__main__":
    main()
