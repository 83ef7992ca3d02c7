# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu from beginning to end at tiny sizes, on the shim in place of a GPU; without one it says so.

    test_benchmarks_gpu.py BUILD

CT_CUDA_LIBRARY names the shim. PyTorch takes part where this Python has it. Exits 77 (skipped) without numpy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = sys.argv.pop()
try:
    import numpy  # noqa: F401  of data/make_synthetic.py
except ImportError:
    print("no numpy here")
    sys.exit(77)

FAKE_TRAIN = """#!/usr/bin/python3
import json, os, sys
s = dict(word.split("=", 1) for word in sys.argv[2:] if word != "--set")
if s.get("train.lr") == "-1":
    sys.exit("no such rate")
first = 10 * int(s["run.seed"]) + (1 if s["run.precision"] == "fp32" else 9)
r = [float(first + i) for i in range(6)]
if s["run.precision"] == "bf16":
    r[4:] = 0, 99
names = ("r1", "r5", "r10")
os.makedirs(s["run.folder"])
with open(s["run.folder"] + "/results.json", "w") as file:
    json.dump({"test": {"i2t": dict(zip(names, r[:3])), "t2i": dict(zip(names, r[3:]))}}, file)
"""


def gpu(*arguments: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-B", str(ROOT / "benchmarks" / "gpu"), *arguments], capture_output=True,
                          text=True, env={**os.environ, **env})


class BenchmarksGpu(unittest.TestCase):
    def test_everything_tiny(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "results.json"
            done = gpu(BUILD, "--tiny", "--no-suite", "--out", str(out))
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            found = json.loads(out.read_text())
            summary = gpu("--summary", str(out))
        self.assertEqual(found["failures"], [])
        self.check_kernels(found["kernels"])
        ours = found["programs"]["ours bf16"]
        for what in ("step", "forward"):
            self.assertGreater(ours[what]["median"], 0)
            self.assertLessEqual(ours[what]["minimum"], ours[what]["maximum"])
        self.assertEqual(len(ours["evaluate"]["recalls"]), 6)
        self.assertGreater(ours["memory"]["peak_bytes"], ours["memory"]["tensor_bytes"] / 2)
        operations = {row["operation"]: row for row in found["profile"]["operations"]}
        self.assertIn("policy_head", operations)
        self.assertTrue(all(row["forward"] > 0 for row in operations.values()))
        for name, p in found["programs"].items():
            if name.startswith("pytorch"):
                ratio = found["ratios"][f"step: {name} / ours bf16"]["rounds"][0]
                self.assertAlmostEqual(ratio, p["rounds"][0]["step"] / ours["rounds"][0]["step"])
        self.assertEqual((summary.returncode, summary.stderr), (0, ""))
        self.assertIn("ours bf16", summary.stdout)

    def check_kernels(self, found: dict) -> None:
        self.assertIn("shim", found["machine"])
        self.assertGreater(found["copy"][0]["bytes_per_second"], 0)
        self.assertEqual({row["precision"] for row in found["products"]}, {"fp32", "tf32", "bf16"})
        for row in found["products"]:
            self.assertGreater(row["flops_per_second"], 0)
        self.assertEqual([row["precision"] for row in found["gru"]], ["fp32", "tf32", "bf16"])
        self.assertTrue(all(row["flops_per_second"] > 0 for row in found["gru"]))
        for row in found["kernels"]:
            self.assertNotIn("error", row)
            self.assertGreater(row["of_copy"], 0, row["name"])
            self.assertEqual(len(row["seconds"]), 2)

    def test_what_there_is_no_time_for_is_left_out(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "results.json"
            gpu(BUILD, "--tiny", "--no-suite", "--minutes", "0.6", "--out", str(out))
            found = json.loads(out.read_text())
        self.assertIn("kernels", found["dropped"])
        self.assertNotIn("kernels", found)

    def test_without_a_gpu(self) -> None:
        done = gpu(BUILD, CT_CUDA_LIBRARY="/nowhere/cuda.so")
        self.assertEqual(done.returncode, 77)
        self.assertIn("cuda: the CUDA backend was not loaded", done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_trainings_are_compared(self) -> None:
        """By a program in place of `train`: of the six recalls, four in bf16 lie within fp32's."""
        with tempfile.TemporaryDirectory() as folder:
            train = Path(folder) / "train"
            train.write_text(FAKE_TRAIN)
            train.chmod(0o755)
            command = [sys.executable, "-B", str(ROOT / "benchmarks" / "gpu_train.py"), str(train), "--seeds", "1", "3"]
            done = subprocess.run(command, capture_output=True, text=True)
            failed = subprocess.run([*command, "--set", "train.lr=-1"], capture_output=True, text=True)
        found = json.loads(done.stdout)
        self.assertEqual(found["recalls"]["fp32"], [[11, 12, 13, 14, 15, 16], [31, 32, 33, 34, 35, 36]])
        self.assertEqual(found["recalls"]["bf16"], [[19, 20, 21, 22, 0, 99], [39, 40, 41, 42, 0, 99]])
        self.assertEqual(found["within"], 4)
        self.assertEqual(failed.returncode, 1)
        self.assertIn("no such rate", failed.stderr)

    def test_wrong_use(self) -> None:
        self.assertEqual(gpu().returncode, 2)
        done = gpu("/nowhere")
        self.assertEqual(done.returncode, 2)
        self.assertIn("/nowhere is not there", done.stderr)
        with tempfile.TemporaryDirectory() as empty:
            done = gpu(empty)
        self.assertEqual(done.returncode, 2)
        self.assertIn("has no program kernels", done.stderr)


if __name__ == "__main__":
    unittest.main()
