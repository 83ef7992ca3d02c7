# SPDX-License-Identifier: Apache-2.0
"""benchmarks/compare-pytorch without PyTorch: its summary of recorded results, and wrong use; the table of
benchmarks/scaling-of-a-step."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def program(seconds: list[float], peak: float, **more: float) -> dict:
    rounds = [{"round": i, "seconds": s, "processor": 1.9 * s, "steps": 1, **more} for i, s in enumerate(seconds)]
    return {"command": [], "flops": 2e9 if more else None, "peak_bytes": peak, "rounds": rounds}


RESULTS = {
    "format": 1, "date": "2026-11-29", "commit": "abc", "threads": 2, "left_out": [], "failures": [],
    "machine": {"processor": "a processor", "cores": 2, "torch": "2.15.0", "ours": "cpu (avx2)"},
    "cases": {"bundled": {"command": "step", "programs": {
        "ours": program([0.010, 0.020, 0.040], 100e6, products=250e9),
        "PyTorch": program([0.030, 0.050, 0.080], 400e6),
        "PyTorch compiled": program([0.060, 0.060, 0.060], 500e6),
        "as released": program([0.100], 600e6),
    }}},
}


def compare(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", ROOT / "benchmarks" / "compare-pytorch", *arguments],
                          capture_output=True, text=True)


class ComparePyTorch(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def file(self, name: str, results: dict) -> Path:
        (self.folder / name).write_text(json.dumps(results))
        return self.folder / name

    def summary(self, *files: Path) -> list[str]:
        done = compare("--summary", *files)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def row(self, lines: list[str], begin: str) -> list[str]:
        return next(line for line in lines if line.startswith(begin)).removeprefix(begin).split()

    def test_medians_and_ratios_round_by_round(self) -> None:
        lines = self.summary(self.file("a.json", RESULTS))
        self.assertEqual(self.row(lines, "  ours ")[:2], ["20", "ms"])
        # 3, 2.5 and 2 times; the median of times over that of ours would be 2.5, too
        self.assertEqual(self.row(lines, "  PyTorch  ")[-2:], ["2.50", "(2.00-3.00)"])
        # 6, 3 and 1.5 times; took part in all rounds
        self.assertEqual(self.row(lines, "  PyTorch compiled")[-2:], ["3.00", "(1.50-6.00)"])
        # took part in the first round alone, in which ours took 10 ms
        self.assertEqual(self.row(lines, "  as released")[-2:], ["10.00", "(10.00-10.00)"])
        # 2e9 FLOP in 10, 20 and 40 ms, of 250e9 a second
        self.assertTrue(any(line.endswith("40% round by round") for line in lines), lines)

    def test_each_precision_beside_its_own(self) -> None:
        both = copy.deepcopy(RESULTS)
        both["cases"]["bundled"]["programs"] |= {"ours bf16": program([0.005, 0.010, 0.040], 100e6),
                                                 "PyTorch bf16": program([0.020, 0.020, 0.080], 300e6)}
        lines = self.summary(self.file("a.json", both))
        # 0.5, 0.5 and 1 times ours in fp32; 4, 2 and 2 times ours in bf16
        self.assertEqual(self.row(lines, "  ours bf16")[-4:], ["0.50", "(0.50-1.00)", "of", "fp32"])
        self.assertEqual(self.row(lines, "  PyTorch bf16")[-4:], ["2.00", "(2.00-4.00)", "of", "bf16"])
        self.assertEqual(self.row(lines, "  PyTorch  ")[-2:], ["2.50", "(2.00-3.00)"])

    def test_goals(self) -> None:
        lines = self.summary(self.file("a.json", RESULTS))
        goals = {line[:60].strip(): line.split()[-2:] for line in lines if line.split()[-1:] in (["met"], ["missed"])}
        self.assertEqual(goals, {
            "bundled: times as fast as PyTorch": ["2.50", "met"],
            "bundled: times as fast as the published structure": ["10.00", "met"],
            "bundled: of the rate of products alone": ["0.40", "missed"],
            "bundled: peak memory, of that of PyTorch": ["0.25", "met"],
        })

    def test_several_runs_are_told_together(self) -> None:
        """Ratios stay within a run: a first round is not set beside another run's."""
        slower = copy.deepcopy(RESULTS)
        for p in slower["cases"]["bundled"]["programs"].values():
            for r in p["rounds"]:
                r["seconds"] *= 10
        slower["cases"]["bundled"]["programs"]["ours"]["peak_bytes"] = 200e6
        lines = self.summary(self.file("a.json", RESULTS), self.file("b.json", slower))
        self.assertEqual(self.row(lines, "  as released")[-2:], ["10.00", "(10.00-10.00)"])
        self.assertEqual(self.row(lines, "  ours ")[:2], ["70", "ms"])  # between 40 and 100
        self.assertEqual(self.row(lines, "  ours ")[-1], "200")

    def test_ours_alone(self) -> None:
        alone = copy.deepcopy(RESULTS)
        alone["machine"]["torch"] = None
        alone["cases"]["bundled"]["programs"] = {"ours": RESULTS["cases"]["bundled"]["programs"]["ours"]}
        alone["left_out"] = ["PyTorch: python does not have it"]
        lines = self.summary(self.file("a.json", alone))
        self.assertIn("PyTorch is not here", lines[0])
        self.assertEqual(lines[-1], "left out: PyTorch: python does not have it")

    def test_wrong_files(self) -> None:
        for name, text, why in (("none.json", None, "No such file or directory"),
                                ("text.json", "speed", "not a result of compare-pytorch"),
                                ("other.json", "{}", "not a result of compare-pytorch"),
                                ("list.json", "[1]", "not a result of compare-pytorch"),
                                ("case.json", json.dumps({**RESULTS, "cases": {"bundled": 3}}),
                                 "not a result of compare-pytorch"),
                                ("round.json", json.dumps(RESULTS).replace('"round": 0', '"round": []'),
                                 "not a result of compare-pytorch"),
                                ("time.json", json.dumps(RESULTS).replace("0.01,", "0,"),
                                 "not a result of compare-pytorch")):
            path = self.folder / name
            if text is not None:
                path.write_text(text)
            done = compare("--summary", path)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", f"compare-pytorch: {path}: {why}\n"))

    def test_wrong_use(self) -> None:
        for arguments, why in ((("--case", "d512"), "invalid choice: 'd512'"), (("--rounds", "0"), "--rounds"),
                               (("--patience", "x"), "--patience"), (("--program", "JAX"), "invalid choice: 'JAX'"),
                               (("--precision", "f16"), "invalid choice: 'f16'")):
            done = compare(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(why, done.stderr.splitlines()[-1])
        done = compare("--build", self.folder)
        self.assertEqual(done.returncode, 2)
        self.assertIn(f"{self.folder} has no benchmarks/gpu_step: ninja -C", done.stderr.splitlines()[-1])


class Scaling(unittest.TestCase):
    def table(self, file: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-B", ROOT / "benchmarks" / "scaling-of-a-step", "table", file],
                              capture_output=True, text=True)

    def test_table(self) -> None:
        """Twice the batch: twice the work, in 1.5 times the time of the median round."""
        base = {"batch": 128, "regions": 36, "width": 128, "words": 5, "seconds": [0.3, 0.1, 0.2], "flops": 2e9}
        results = {"machine": "cpu", "points": [{**base, "batch": 256, "seconds": [0.3], "flops": 4e9}, base]}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "points.json"
            file.write_text(json.dumps(results))
            done = self.table(file)
        rows = [line.split() for line in done.stdout.splitlines()]
        self.assertIn(["batch", "256", "300.0", "4.00", "13", "1.50x", "2.00x"], rows)
        self.assertEqual(rows.count(["words", "5", "200.0", "2.00", "10", "1.00x", "1.00x"]), 1)

    def test_wrong_files(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for text, why in ((None, "No such file or directory"), ("", "not a result of scaling-of-a-step"),
                              ("[1]", "not a result of scaling-of-a-step"),
                              ('{"machine": "cpu", "points": []}', "not a result of scaling-of-a-step"),
                              ('{"machine": "cpu", "points": [{"batch": 128}]}', "not a result of scaling-of-a-step")):
                file = Path(folder) / "points.json"
                if text is not None:
                    file.write_text(text)
                done = self.table(file)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (2, "", f"scaling-of-a-step: {file}: {why}\n"))


if __name__ == "__main__":
    unittest.main()
