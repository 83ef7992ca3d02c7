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

    def test_features_that_are_none(self) -> None:
        self.captions(ids=True)
        for split in ("train", "test"):
            np.save(self.folder / f"{split}_ims.npy", np.eye(3, dtype="<f4"))
        path = self.folder / "test_ims.npy"
        whole = path.read_bytes()
        damaged = (b"", b"no array", b"PK\x03\x04", whole[:9], whole[:70], whole[:-1], whole.replace(b"(3, 3)", b"(3, 3"),
                   whole.replace(b"(3, 3)", b"(2**70,)"), whole.replace(b"(3, 3)", b"(-3, 3)"), whole.replace(b"<f4", b"|O8"), b"\x80\x02N.")
        for data in damaged:
            with self.subTest(data):
                path.write_bytes(data)
                said = self.fails(self.folder)
                self.assertIn("test_ims.npy: ", said)
                self.assertIn("expected a whole .npy of numbers", said)
        for array, words in ((np.float32(1), "expected one row or more"), (np.zeros((0, 3)), "test_ims.npy: "), (np.array(["a"]), "of <U1, expected"),
                             (np.eye(3)[:, :2], "test: images of 2 numbers, expected 3"), (np.full((3, 3), np.nan), "finite numbers")):
            np.save(path, array)
            self.assertIn(words, self.fails(self.folder))
        path.unlink()
        path.mkdir()
        np.save(path / "0.npy", np.eye(3)[:2])
        np.save(path / "1.npy", np.eye(2)[:1])
        self.assertIn("1.npy: rows of (2,), expected (3,)", self.fails(self.folder))

    def test_pictures_that_are_none(self) -> None:
        self.captions(ids=True)
        for split in ("train", "test"):
            (self.folder / f"{split}_pictures.txt").write_text("0.png\n1.png\n2.png\n")
        for number in range(3):
            Image.new("RGB", (50, 30)).save(self.folder / f"{number}.png")
        whole = (self.folder / "1.png").read_bytes()
        for data in (b"", b"no picture", whole[:50], whole[:40] + b"?" + whole[41:], whole.replace(b"IHDR", b"IHDX")):
            with self.subTest(data):
                (self.folder / "1.png").write_bytes(data)
                self.assertIn("train_pictures.txt:2: 1.png: no picture, or a broken one", self.fails(self.folder))
        (self.folder / "train_pictures.txt").write_text("")
        self.assertIn("train_pictures.txt: no pictures", self.fails(self.folder))


if __name__ == "__main__":
    unittest.main()
