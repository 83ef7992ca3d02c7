#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether training in bf16 ends where training in fp32 does, on the bundled pictures.

    benchmarks/gpu_train.py TRAIN [--seeds 1 2 3] [--epochs N] [--minutes 4]

TRAIN is the program. Trains configs/emoji_policy.ini on the GPU with each seed in fp32 and in bf16, a few at a time,
and prints as JSON the recalls on `test`, and how many of the six have bf16's mean between fp32's least and most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import printing  # noqa: E402

PRECISIONS = ("fp32", "bf16")
RECALLS = [(way, rank) for way in ("i2t", "t2i") for rank in ("r1", "r5", "r10")]
Json = dict[str, object]


class Failed(Exception):
    """A run failed; the message is its own."""


def run_once(train: str, env: dict[str, str], folder: Path, settings: list[str], deadline: float) -> list[float]:
    """The six recalls on `test` of the best model."""
    command = [train, "configs/emoji_policy.ini", *(word for s in settings for word in ("--set", s)),
               "--set", f"run.folder={folder}"]
    left = deadline - time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True,
                              timeout=max(left, 1))
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(settings)}: no time was left") from None
    if done.returncode != 0:
        raise Failed(f"{' '.join(settings)}: {done.stderr.strip()[-1000:]}")
    test = json.loads((folder / "results.json").read_text())["test"]
    return [test[way][rank] for way, rank in RECALLS]


def compare(train: str, env: dict[str, str], folder: Path, seconds: float, seeds: tuple[int, ...] = (1, 2, 3),
            settings: tuple[str, ...] = (), jobs: int = 3, say: Callable[[str], None] = print) -> Json:
    deadline = time.monotonic() + seconds
    runs = [(precision, seed) for seed in seeds for precision in PRECISIONS]

    def run(job: tuple[str, int]) -> list[float]:
        precision, seed = job
        of_run = ["run.device=cuda", f"run.precision={precision}", f"run.seed={seed}", *settings]
        found = run_once(train, env, folder / f"{precision}-{seed}", of_run, deadline)
        say(f"{precision}, seed {seed}: rsum {sum(found):.1f}")
        return found

    with ThreadPoolExecutor(jobs) as pool:
        found = dict(zip(runs, pool.map(run, runs)))
    recalls = {p: [found[p, seed] for seed in seeds] for p in PRECISIONS}
    means = [statistics.mean(column) for column in zip(*recalls["bf16"])]
    within = sum(min(column) <= mean <= max(column) for mean, column in zip(means, zip(*recalls["fp32"])))
    return {"seeds": list(seeds), "names": ["%s.%s" % pair for pair in RECALLS], "recalls": recalls, "within": within}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", metavar="TRAIN")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="settings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpu-train-") as folder:
        try:
            found = compare(str(Path(options.train).resolve()), {}, Path(folder), 60 * options.minutes,
                            tuple(options.seeds), (f"train.epochs={options.epochs}", *options.settings),
                            say=lambda text: print(text, file=sys.stderr))
        except Failed as error:
            print(f"gpu_train.py: {error}", file=sys.stderr)
            return 1
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    printing.is_the_result()
    sys.exit(main())
