#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of scripts/compare-steps, on files made here. Exits 77 (skipped) without numpy."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))

try:
    import numpy as np
except ImportError as missing:
    print(f"test_compare_steps.py: skipped: {sys.executable} has no module {missing.name}")
    sys.exit(77)

from script_test import Scratch  # noqa: E402

DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64", "uint8": "U8"}


def safetensors(tensors: dict[str, Any], **metadata: str) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, value in tensors.items():
        x = np.asarray(value)
        header[name] = {"dtype": DTYPES[x.dtype.name], "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


class CompareSteps(Scratch):
    script = "../scripts/compare-steps"

    def write(self, name: str, tensors: dict[str, Any], **metadata: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(safetensors(tensors, **metadata))
        return path

    def status(self, *arguments: str | Path) -> tuple[int, str]:
        done = self.run_script(*arguments)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def test_prints_the_largest_difference_of_each_tensor(self) -> None:
        a = self.write("a.safetensors", {"x": [1.0, 2.0, 4.5], "n": [3, 4]}, step="1")
        b = self.write("b.safetensors", {"x": [1.0, 2.1, 5.0], "n": [3, 4]})
        status, output = self.status(a, b)
        self.assertEqual(status, 1)
        self.assertRegex(output, r" 5\.000e-01 +1\.000e-01 +x \(3,\) +BEYOND")
        self.assertRegex(output, r" 0\.000e\+00 +0\.000e\+00 +n \(2,\)\n")
        self.assertIn("2 tensors compared, 1 beyond", output)
        self.assertEqual(self.status(a, b, "--relative", "0.0999")[0], 1)
        self.assertEqual(self.status(a, b, "--relative", "0.1001")[0], 0)
        self.assertEqual(self.status(a, b, "--relative", "0", "--absolute", "0.51")[0], 0)

    def test_names_that_one_side_lacks(self) -> None:
        a = self.write("a.safetensors", {"x": [1.0], "mine": [1.0]})
        b = self.write("b.safetensors", {"x": [1.0], "theirs": [1.0]})
        status, output = self.status(a, b)
        self.assertEqual(status, 0)
        self.assertIn("only in A: mine\n", output)
        self.assertIn("only in B: theirs\n", output)

    def test_a_folder_of_steps_meets_a_file_of_steps(self) -> None:
        self.write("steps/step_000001.safetensors", {"loss": 1.0})
        self.write("steps/step_000002.safetensors", {"loss": 2.0})
        b = self.write("b.safetensors", {"step1.loss": 1.0, "step2.loss": 2.5})
        status, output = self.status(self.folder / "steps", b)
        self.assertEqual(status, 1)
        self.assertRegex(output, r"step1\.loss \(\)\n")
        self.assertRegex(output, r"5\.000e-01 +2\.000e-01 +step2\.loss \(\) +BEYOND")

    def test_a_file_without_numbers_is_step_one(self) -> None:
        self.write("steps/step_000001.safetensors", {"loss": 1.0})
        self.write("steps/step_000002.safetensors", {"loss": 2.0})
        b = self.write("b.safetensors", {"loss": 1.0})
        for arguments in ((self.folder / "steps", b), (b, self.folder / "steps")):
            status, output = self.status(*arguments)
            self.assertEqual(status, 0)
            self.assertIn("1 tensors compared", output)
            self.assertIn("step2.loss", output)

    def test_trailing_ones_do_not_count_and_other_shapes_do(self) -> None:
        a = self.write("a.safetensors", {"w": [[1.0, 2.0]], "v": [1.0, 2.0]})
        b = self.write("b.safetensors", {"w": [[[1.0], [2.0]]], "v": [1.0]})
        status, output = self.status(a, b)
        self.assertEqual(status, 1)
        self.assertIn("2 tensors compared, 1 beyond", output)
        self.assertRegex(output, r"shapes +differ +v \(2,\) \(1,\) +BEYOND")

    def test_dtypes_may_differ_and_nan_is_only_like_nan(self) -> None:
        a = self.write("a.safetensors", {"x": np.array([1, 2], "f4"), "same": [np.nan, 1.0], "not": [1.0]})
        b = self.write("b.safetensors", {"x": np.array([1, 2], "f8"), "same": [np.nan, 1.0], "not": [np.nan]})
        status, output = self.status(a, b)
        self.assertEqual(status, 1)
        self.assertRegex(output, r"not \(1,\) +BEYOND")
        self.assertIn("3 tensors compared, 1 beyond", output)

    def test_wrong_input_is_one_sentence(self) -> None:
        good = self.write("good.safetensors", {"x": [1.0]})
        other = self.write("other.safetensors", {"y": [1.0]})
        broken = self.folder / "broken.safetensors"
        broken.write_bytes(b"\x05\0\0\0\0\0\0\0hello")
        short = self.folder / "short.safetensors"
        short.write_bytes(good.read_bytes()[:-1])
        (self.folder / "empty").mkdir()
        self.assertIn("no tensor in common", self.fails(good, other))
        self.assertIn("not a safetensors file", self.fails(good, broken))
        self.assertIn("not a safetensors file", self.fails(good, short))
        self.assertIn("no step_*.safetensors", self.fails(self.folder / "empty", good))
        self.assertIn("nowhere.safetensors: cannot be read", self.fails(self.folder / "nowhere.safetensors", good))


if __name__ == "__main__":
    unittest.main()
