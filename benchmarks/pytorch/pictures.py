#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Networks for pictures: build/benchmarks/pictures and PyTorch, eager, in turn.

    benchmarks/pytorch/pictures.py [ROUNDS [THREADS]]          default 3 2

Of ResNet-50 and EfficientNet-Lite0 (evaluation, batch 32, 224x224) and of training ResNet-18 (forward
and backward, batch 32, 64x64): pictures a second of ours with oneDNN, of ours without, of PyTorch with
torchvision and timm; medians over all rounds, their ratios to PyTorch's, and what part of the rate of
matrix products, measured between ours, each multiplies at.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import timm
import torch
import torchvision

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import printing  # noqa: E402

PROGRAM = Path(__file__).resolve().parents[2] / "build" / "benchmarks" / "pictures"
SAMPLES = 3
BATCH = 32
# network, size, whether to train, multiplications and additions of a picture
CASES = [
    ("resnet50", 224, False, 8.2e9),
    ("efficientnet_lite0", 224, False, 0.77e9),
    ("resnet18", 64, True, 3 * 0.297e9),
]


def ours(network: str, size: int, train: bool, threads: int, onednn: bool) -> list[tuple[float, float]]:
    """(pictures a second, FLOP/s of products) of each sample."""
    command = [PROGRAM, network, str(threads), str(BATCH), str(size), "train" if train else "forward"]
    environment = os.environ | {"CT_ONEDNN": "on" if onednn else "off"}
    lines = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    words = [line.split() for line in lines.splitlines()]
    return [(float(w[2]), 1e9 * float(w[5])) for w in words]


def pytorch(model: torch.nn.Module, size: int, train: bool) -> list[float]:
    x = torch.randn(BATCH, 3, size, size)
    rates = []
    for _ in range(1 + SAMPLES):
        start = time.perf_counter()
        with torch.set_grad_enabled(train):
            y = model(x)
            if train:
                y.square().sum().backward()
        rates.append(BATCH / (time.perf_counter() - start))
    return rates[1:]


def model_of(network: str, train: bool) -> torch.nn.Module:
    """To the last feature map, as ours."""
    if network == "efficientnet_lite0":
        model = timm.create_model("tf_efficientnet_lite0", num_classes=0, global_pool="")
    else:
        model = torch.nn.Sequential(*list(getattr(torchvision.models, network)().children())[:-2])
    return model.train(train)


def main() -> None:
    printing.is_the_result()
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    torch.set_num_threads(threads)
    for network, size, train, work in CASES:
        rates: dict[str, list[float]] = {"oneDNN": [], "BLAS": [], "PyTorch": []}
        products: list[float] = []
        model = model_of(network, train)
        for _ in range(rounds):
            for name, onednn in (("oneDNN", True), ("BLAS", False)):
                samples = ours(network, size, train, threads, onednn)
                rates[name] += [s[0] for s in samples]
                products += [s[1] for s in samples]
            rates["PyTorch"] += pytorch(model, size, train)
        theirs, product = statistics.median(rates["PyTorch"]), statistics.median(products)
        for name, values in rates.items():
            rate = statistics.median(values)
            print(
                f"{network:20} {'train' if train else 'forward':8} {name:8} {rate:8.2f} pictures/s"
                f"  {rate / theirs:5.2f} of PyTorch's  best {max(values):8.2f}"
                f"  {rate * work / product:5.0%} of products' {product / 1e9:.0f} GFLOP/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
