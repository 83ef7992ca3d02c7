#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kills trainings at random instants (kill -9), goes on with them, and compares what they end with.

    tests/faults/kill_loop.py TRAIN [--kills 1000] [--seed 1]

Each training is killed and resumed until it ends, and must then have left the weights, results and log of one that
nothing happened to, to the bit but for times; so on until there were so many kills.
"""
import argparse
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import experiment  # noqa: E402

OPTIONS = ["--set", "train.epochs=30"]


def left_by(of):
    run = of.folder / "run"
    return (experiment.tensors(run / "best.safetensors"), experiment.tensors(run / "last.safetensors"),
            experiment.results(run / "results.json"), experiment.metrics(run / "metrics.jsonl"))


def live(at, draw, longest):
    """Starts or goes on, and kills it after a random time; whether it had ended by itself before."""
    begun = (at.folder / "run/last.safetensors").exists()
    with at.start(*OPTIONS, "--resume" if begun else "--overwrite") as process:
        try:
            _, said = process.communicate(timeout=draw.uniform(0, longest))
        except Exception:  # it has not ended in that time
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return False
    if process.returncode != 0:
        raise SystemExit(f"gone on with, it ends with {process.returncode}: {said.decode(errors='replace')}")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="cotangent-kills-") as folder:
        start = experiment.Experiment.make(pathlib.Path(options.train).resolve(), None, pathlib.Path(folder) / "start")
        whole = start.copy(pathlib.Path(folder) / "whole")
        begin = time.monotonic()
        whole.must(*OPTIONS)
        longest = time.monotonic() - begin
        kills = trainings = 0
        while kills < options.kills:
            at = start.copy(pathlib.Path(folder) / "killed")
            here = 0
            while not live(at, draw, longest):
                here += 1
            kills += here
            trainings += 1
            if left_by(at) != left_by(whole):
                raise SystemExit(f"training {trainings}, killed {here} times, ended otherwise than one that was not")
    print(f"{kills} kills of {trainings} trainings: each ended as one that nothing happened to")


if __name__ == "__main__":
    main()
