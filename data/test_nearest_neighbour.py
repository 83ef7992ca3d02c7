#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of nearest_neighbour.py. Exits 77 (skipped) without NumPy and Pillow."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
    from PIL import Image

    import nearest_neighbour
    from script_test import Scratch
except ImportError as missing:
    if missing.name not in ("numpy", "PIL"):
        raise
    print("test_nearest_neighbour.py: skipped: install python3-numpy and python3-pil")
    sys.exit(77)

# Of three test images the first two are near training images that say the same words; the third is near one that does not.
TRAIN = ["A red ball.", "Green grass!", "a blue sky"]
TEST = ["red ball", "grass, GREEN", "red wine"]
EXPECTED = "test        66.7  100.0  100.0     66.7  100.0  100.0"
COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]


class Folder(Scratch):
    script = "nearest_neighbour.py"

    def captions(self, ids: bool) -> None:
        for split, captions in (("train", TRAIN), ("test", TEST)):
            (self.folder / f"{split}_caps.txt").write_text("".join(f"{caption}\r\n" for caption in captions))
            if ids:
                (self.folder / f"{split}_ids.txt").write_text("0\n1\n2\n")

    def test_features_of_all_kinds(self) -> None:
        self.captions(ids=True)
        for dtype in ("<f4", "<f2"):
            for shape in ((3, 3), (3, 1, 3), (3, 3, 1)):
                for split in ("train", "test"):
                    np.save(self.folder / f"{split}_x.npy", np.eye(3, dtype=dtype).reshape(shape))
                said = self.succeeds(self.folder, "--features", "{split}_x.npy")
                self.assertEqual(said.splitlines()[2:], [EXPECTED])

    def test_features_in_parts(self) -> None:
        self.captions(ids=True)
        for split in ("train", "test"):
            (self.folder / "cache" / split).mkdir(parents=True)
            np.save(self.folder / "cache" / split / "00000.npy", np.eye(3, dtype="<f2")[:2])
            np.save(self.folder / "cache" / split / "00001.npy", np.eye(3, dtype="<f2")[2:])
        said = self.succeeds(self.folder, "--features", "cache/{split}")
        self.assertEqual(said.splitlines()[2:], [EXPECTED])

    def test_pictures(self) -> None:
        self.captions(ids=False)
        for split in ("train", "test"):
            names = []
            for number, (colour, ending) in enumerate(zip(COLOURS, ("jpg", "png", "webp"))):
                names.append(f"{split}{number}.{ending}")
                Image.new("RGB", (50, 30), colour).save(self.folder / names[-1])
            (self.folder / f"{split}_pictures.txt").write_text("".join(f"{name}\n" for name in names))
        self.assertEqual(self.succeeds(self.folder).splitlines()[2:], [EXPECTED])

    def test_blocks(self) -> None:
        rows = np.random.default_rng(1).normal(size=(nearest_neighbour.ROWS_AT_ONCE + 5, 4)).astype(np.float32)
        chosen = [0, 7, nearest_neighbour.ROWS_AT_ONCE - 1, nearest_neighbour.ROWS_AT_ONCE, len(rows) - 1]
        np.testing.assert_array_equal(nearest_neighbour.nearest(rows[chosen], rows), chosen)

    def test_faults(self) -> None:
        self.captions(ids=True)
        self.assertIn("train_ims.npy", self.fails(self.folder))
        for split in ("train", "test"):
            np.save(self.folder / f"{split}_ims.npy", np.eye(3, dtype="<f4")[:2])
        self.assertIn("3 captions, 3 image numbers and 2 images do not match", self.fails(self.folder))
        for split in ("train", "test"):
            np.save(self.folder / f"{split}_ims.npy", np.eye(3, dtype="<f4"))
        self.assertIn("none_ims.npy", self.fails(self.folder, "--splits", "none"))


if __name__ == "__main__":
    unittest.main()
