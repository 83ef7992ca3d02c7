#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Text is read by the scripts as by `train` (CT_TRAIN names the program), to the same lines or the same error."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import text_file  # noqa: E402
from script_test import Scratch  # noqa: E402

MODEL = "[image]\nfc = linear width=4\npool = mean\n[text]\nembed = words width=4\npool = gru\n[loss]\nretrieval = hinge\n"

# Two captions, as bytes, and their lines.
GOOD = {
    b"a\nb\n": ["a", "b"],
    b"a\nb": ["a", "b"],
    b"\xef\xbb\xbfa\nb\n": ["a", "b"],
    b"a\r\nb\r\n": ["a", "b"],
    b"a\r\nb\r": ["a", "b"],
    "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\nb\n".encode(): ["a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g", "b"],
    "é ﬁ\nb\n".encode(): ["é ﬁ", "b"],
    b"a\rb\nc\n": ["a\rb", "c"],
    b"x" * 100000 + b"\nb\n": ["x" * 100000, "b"],
    b"a\n\xef\xbb\xbfb\n": ["a", "\ufeffb"],
}
BAD = [b"\xff\xfea\x00\n\x00", b"\xfe\xff\x00a\x00\n", b"a\nb\0c\n", b"a\nb\xffc\n", b"a\nbb\xc3\n", b"\xed\xa0\x80\nb\n",
       b"\xef\xbb\xbfa\nb\xf8\n", b"a\xc0\x80\nb\n", b"a\n\xe2\x82\nb\n", b"\xff\n\0\n"]


def write_features(path: Path, images: int) -> None:
    header = str({"descr": "<f4", "fortran_order": False, "shape": (images, 1, 2)}).ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
                     + struct.pack(f"<{2 * images}f", *range(2 * images)))


class Text(Scratch):
    def setUp(self) -> None:
        super().setUp()
        for split in ("train", "dev", "test"):
            write_features(self.folder / f"{split}_ims.npy", 2)
            (self.folder / f"{split}_caps.txt").write_bytes(b"a\nb\n")
        self.captions = self.folder / "train_caps.txt"
        (self.folder / "tiny.ini").write_text(f"[data]\nfolder = {self.folder}\nmin_count = 1\n[train]\nbatch = 2\n"
                                              + MODEL)

    def train(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run([os.environ["CT_TRAIN"], self.folder / "tiny.ini", "--dry-run"], capture_output=True,
                              text=True)

    def test_lines(self) -> None:
        for data, lines in GOOD.items():
            self.captions.write_bytes(data)
            self.assertEqual(text_file.lines(self.captions), lines)
            done = self.train()
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_errors_are_those_of_train(self) -> None:
        for data in BAD:
            self.captions.write_bytes(data)
            with self.assertRaises(text_file.TextError) as error:
                text_file.lines(self.captions)
            done = self.train()
            self.assertEqual(done.returncode, 2, data)
            self.assertEqual(done.stderr, f"train: {error.exception}\n")

    def test_image_rows(self) -> None:
        path = self.folder / "train_ids.txt"
        for data, rows in ((b"0\n1\n", [0, 1]), (b"\xef\xbb\xbf0\r\n1 \r\n", [0, 1]), (b" 1\n+0", [1, 0])):
            path.write_bytes(data)
            self.assertEqual(text_file.image_rows(path), rows)
            self.assertEqual(self.train().returncode, 0, data)
        for data in (b"0\nx\n", b"0\n1_0\n", b"0\n\n", b"0\n1 2\n", "0\n١\n".encode()):
            path.write_bytes(data)
            with self.assertRaises(text_file.TextError) as error:
                text_file.image_rows(path)
            self.assertEqual(self.train().stderr, f"train: {error.exception}\n")

    def test_image_row_of_many_digits(self) -> None:
        path = self.folder / "train_ids.txt"
        path.write_text("0\n" + "9" * 5000 + "\n")
        with self.assertRaisesRegex(text_file.TextError, "train_ids.txt:2: '9{40}', expected the number of an image"):
            text_file.image_rows(path)

    def test_read(self) -> None:
        self.captions.write_bytes(b"\xef\xbb\xbfa\r\nb")
        self.assertEqual(text_file.read(self.captions), "a\nb")


if __name__ == "__main__":
    if "CT_TRAIN" not in os.environ:
        print("test_text_file.py: skipped: CT_TRAIN names no program")
        sys.exit(77)
    unittest.main()
