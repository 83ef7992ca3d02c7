# SPDX-License-Identifier: Apache-2.0
"""scripts/study: every row's settings are understood, and its tables add up.

CT_TRAIN names the program."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "scripts"))
LOADER = importlib.machinery.SourceFileLoader("study", str(ROOT / "scripts" / "study"))
study = importlib.util.module_from_spec(importlib.util.spec_from_loader("study", LOADER))
LOADER.exec_module(study)

IMAGES, REGIONS, WIDTH = 130, 2, 3


def write_split(folder: Path, name: str) -> None:
    """Features that are all different, one caption an image."""
    count = IMAGES * REGIONS * WIDTH
    header = str({"descr": "<f4", "fortran_order": False, "shape": (IMAGES, REGIONS, WIDTH)})
    header = header.ljust(117) + "\n"
    (folder / f"{name}_ims.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
        + struct.pack(f"<{count}f", *(i % 97 / 97 for i in range(count))))
    captions = "".join(f"picture number {i}\n" for i in range(IMAGES))
    (folder / f"{name}_caps.txt").write_text(captions, encoding="utf-8")


class Study(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)
        for split in ("train", "dev", "test", "test_new"):
            write_split(self.folder, split)

    def test_rows_are_understood_and_differ(self) -> None:
        losses = {}
        for row in study.ROWS:
            words = [os.environ["CT_TRAIN"], "configs/emoji_policy.ini", "--dry-run"]
            for setting in study.settings(row) + [f"data.folder={self.folder}",
                                                  f"run.folder={self.folder}/run"]:
                words += ["--set", setting]
            if row == "released":
                words += ["--set", "loss.instance=classifier hidden=128 classes=2462"]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, f"{row}: {done.stderr}")
            losses[row] = done.stdout.split("loss of the first batch: ")[1].split()[0]
        for row in ("none", "discrete", "continuous", "no_decoder", "no_instance", "intra_modal",
                    "released", "scale_1", "weight_10", "baseline_1", "self_attention"):
            self.assertNotEqual(losses[row], losses["both"], row)

    def test_a_row_is_a_sweep_that_is_collected(self) -> None:
        study.RUNS = self.folder / "study"
        words = study.command("none", [2, 1]) + [
            "--set", f"data.folder={self.folder}", "--set", "train.epochs=1"]
        words[0] = os.environ["CT_TRAIN"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = study.collect()
        self.assertEqual(list(found), ["none"])
        self.assertEqual(list(found["none"]), ["2", "1"])
        for seed in (1, 2):
            path = study.folder_of("none", seed) / "results.json"
            results = json.loads(path.read_text(encoding="utf-8"))
            self.assertEqual(found["none"][str(seed)],
                             {split: results[split] for split in study.SPLITS})

    def test_statistics(self) -> None:
        def results(value: float) -> dict:
            way = {"r1": value, "r5": value + 1, "r10": value + 2}
            return {split: {"i2t": way, "t2i": way} for split in study.SPLITS}

        means, spreads = study.statistics({"1": results(1), "2": results(2), "3": results(6)})
        self.assertEqual(means[:3], [3, 4, 5])
        self.assertAlmostEqual(spreads[0], 7 ** 0.5)

    def test_policies_are_edited(self) -> None:
        header = {f"{chain}.attend.logits.{part}": {
            "dtype": "F32", "shape": [4, 2] if part == "weight" else [4],
            "data_offsets": [start, start + size]}
            for chain, part, start, size in (("image", "weight", 0, 32), ("image", "bias", 32, 16),
                                             ("text", "weight", 48, 32), ("text", "bias", 80, 16))}
        text = json.dumps(header).encode()
        numbers = [float(i) for i in range(24)]
        source = self.folder / "a.safetensors"
        source.write_bytes(struct.pack("<Q", len(text)) + text + struct.pack("<24f", *numbers))

        def edited(probe: str) -> list[float]:
            target = self.folder / "b.safetensors"
            study.edit_policies(source, target, probe, 1)
            return list(struct.unpack("<24f", target.read_bytes()[8 + len(text):]))

        self.assertEqual(edited("as_trained"), numbers)
        self.assertEqual(edited("constant"), [0.0] * 24)
        shuffled = edited("shuffled")
        self.assertEqual(sorted(shuffled), numbers)
        for row in range(4):  # weight and bias go together, and stay within their head of two
            place = int(shuffled[8 + row]) - 8
            self.assertEqual(shuffled[2 * row:2 * row + 2], numbers[2 * place:2 * place + 2])
            self.assertEqual(place // 2, row // 2)


if __name__ == "__main__":
    unittest.main()
