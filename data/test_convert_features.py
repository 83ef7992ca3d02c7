#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of convert_features.py. Exits 77 (skipped) without NumPy."""

from __future__ import annotations

import base64
import gzip
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
except ImportError:
    print(f"test_convert_features.py: skipped: {sys.executable} has no module numpy: install python3-numpy")
    sys.exit(77)

from script_test import Scratch  # noqa: E402


def line_of(image: str, features: Any, boxes: int | None = None) -> str:
    """A line of a bottom-up-attention TSV."""
    regions = len(features) if boxes is None else boxes
    corners = np.zeros((regions, 4), "<f4").tobytes()
    fields = [image, "640", "480", str(regions), base64.b64encode(corners).decode(),
              base64.b64encode(np.asarray(features, "<f4").tobytes()).decode()]
    return "\t".join(fields) + "\n"


class Features(Scratch):
    script = "convert_features.py"

    def setUp(self) -> None:
        super().setUp()
        rng = np.random.default_rng(3)
        self.images = {name: rng.standard_normal((3, 4)).astype("<f4") for name in ("17", "4", "00230", "9")}
        self.write("a.tsv", "".join(line_of(name, self.images[name]) for name in ("17", "4")))
        self.write("b.tsv", "".join(line_of(name, self.images[name]) for name in ("00230", "9")))
        self.write("ids.txt", "9\n17\n00230\n")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8", newline="")

    def arguments(self, *tsv: str, sizes: tuple[str, ...] = ("--regions", "3", "--width", "4")) -> list[str | Path]:
        return ["--ids", self.folder / "ids.txt", "--out", self.folder / "dev_ims.npy", *sizes,
                *[self.folder / name for name in tsv]]

    def result(self) -> np.ndarray:
        return np.load(self.folder / "dev_ims.npy")

    def test_boxes_are_parts_of_the_picture(self) -> None:
        corners = np.array([[64, 48, 320, 240], [0, 0, 640, 480], [-3, 0, 650, 120]], "<f4")
        line = line_of("9", self.images["9"]).split("\t")
        line[4] = base64.b64encode(corners.tobytes()).decode()
        self.write("b.tsv", line_of("00230", self.images["00230"]) + "\t".join(line))
        said = self.succeeds(*self.arguments("a.tsv", "b.tsv"))
        self.assertIn("dev_boxes.npy", str(said))
        boxes = np.load(self.folder / "dev_boxes.npy")
        self.assertEqual((boxes.shape, boxes.dtype), ((3, 3, 4), np.float32))
        np.testing.assert_allclose(boxes[0], [[.1, .1, .5, .5], [0, 0, 1, 1], [0, 0, 1, .25]], atol=1e-6)
        np.testing.assert_array_equal(boxes[1:], 0)

    def test_without_boxes_no_file_says_where_they_are(self) -> None:
        line = line_of("9", self.images["9"]).split("\t")
        line[4] = ""
        self.write("b.tsv", line_of("00230", self.images["00230"]) + "\t".join(line))
        (self.folder / "dev_boxes.npy").write_bytes(b"of earlier features")
        (self.folder / "test_boxes.npy").write_bytes(b"of another split")
        self.assertNotIn("boxes.npy", self.succeeds(*self.arguments("a.tsv", "b.tsv")))
        self.assertFalse((self.folder / "dev_boxes.npy").exists())
        self.assertTrue((self.folder / "test_boxes.npy").exists())
        (self.folder / "boxes.npy").write_bytes(b"of all splits")
        said = self.succeeds(*self.arguments("a.tsv", "b.tsv"))
        self.assertIn(f"{self.folder}/boxes.npy: is taken for where these regions are, too", said)
        self.assertTrue((self.folder / "boxes.npy").exists())

    def test_rows_follow_the_ids(self) -> None:
        said = self.succeeds(*self.arguments("a.tsv", "b.tsv"))
        self.assertEqual(self.result().dtype, np.float32)
        np.testing.assert_array_equal(self.result(), [self.images[name] for name in ("9", "17", "00230")])
        self.assertIn("3 images, 3 x 4 f32; of 4 records 0 repeat an image (the first is kept), 1 not asked for", said)
        self.assertEqual(len(list(self.folder.iterdir())), 5)  # two TSV files, the ids, features and boxes

    def test_published_size_is_the_default(self) -> None:
        features = np.random.default_rng(0).standard_exponential((36, 2048), np.float32)
        self.write("c.tsv", line_of("1", features))
        self.write("ids.txt", "1\n")
        self.succeeds(*self.arguments("c.tsv", sizes=()))
        np.testing.assert_array_equal(self.result(), features[None])

    def test_half_precision(self) -> None:
        self.succeeds(*self.arguments("a.tsv", "b.tsv"), "--dtype", "f16")
        self.assertEqual(self.result().dtype, np.float16)
        np.testing.assert_array_equal(self.result()[1], self.images["17"].astype(np.float16))
        self.write("c.tsv", line_of("9", np.full((3, 4), 1e6)))
        self.write("ids.txt", "9\n")
        (self.folder / "dev_ims.npy").unlink()
        self.assertIn("image 9: region 0, number 0 is inf", self.fails(*self.arguments("c.tsv"), "--dtype", "f16"))

    def test_an_image_named_twice_fills_both_rows(self) -> None:
        self.write("ids.txt", "17\n4\n17\n")
        self.succeeds(*self.arguments("a.tsv"))
        np.testing.assert_array_equal(self.result(), [self.images[name] for name in ("17", "4", "17")])

    def test_the_first_of_repeated_records_is_kept(self) -> None:
        self.write("c.tsv", line_of("17", np.ones((3, 4))))
        said = self.succeeds(*self.arguments("a.tsv", "c.tsv", "b.tsv"))
        np.testing.assert_array_equal(self.result()[1], self.images["17"])
        self.assertIn("of 5 records 1 repeat", said)

    def test_windows_line_ends_and_no_last_line_end(self) -> None:
        first, last = (line_of(name, self.images[name])[:-1] for name in ("17", "9"))
        self.write("a.tsv", first + "\r\n" + last)
        self.write("ids.txt", "9\r\n17")
        self.succeeds(*self.arguments("a.tsv"))
        np.testing.assert_array_equal(self.result(), [self.images["9"], self.images["17"]])

    def test_missing_images_are_named(self) -> None:
        self.write("ids.txt", "9\n17\n5\n6\n")
        error = self.fails(*self.arguments("a.tsv"))
        self.assertIn("3 of the 4 images of", error)
        self.assertIn("whole in none of the TSV files: 9, 5, 6\n", error)

    def test_many_missing_images_are_listed_in_a_file(self) -> None:
        self.write("ids.txt", "17\n" + "".join(f"x{number}\n" for number in range(12)))
        self.assertIn("x9, ... (--missing FILE lists all)", self.fails(*self.arguments("a.tsv")))
        done = self.run_script(*self.arguments("a.tsv"), "--missing", self.folder / "missing.txt")
        self.assertEqual(done.returncode, 2)
        self.assertEqual((self.folder / "missing.txt").read_text().split(), [f"x{number}" for number in range(12)])
        self.assertFalse((self.folder / "dev_ims.npy").exists())

    def test_wrong_lines_are_named(self) -> None:
        good = line_of("17", self.images["17"])
        odd = self.images["9"].copy()
        odd[2, 1] = np.nan
        cases = {
            "features of 44 bytes, expected 3 x 4 x 4 = 48": line_of("9", np.zeros(11), boxes=3),
            "image 9 has 2 boxes, expected 3": line_of("9", np.zeros((2, 4))),
            "image 9: features are not base64": line_of("9", self.images["9"])[:-6] + "?\n",
            "image 9: region 2, number 1 is nan": line_of("9", odd),
            "a.tsv:2: 5 fields parted by tabs, expected the 6 fields image_id": "9\t1\t1\t3\tAAAA\n",
        }
        for message, bad in cases.items():
            with self.subTest(message):
                self.write("a.tsv", good + bad)
                self.write("ids.txt", "17\n9\n")
                error = self.fails(*self.arguments("a.tsv"))
                self.assertIn(message, error)
                self.assertIn("a.tsv:2: ", error)
                self.assertIn("1 of the 2 images of", error)

    def test_wrong_records_are_passed_over(self) -> None:
        """Published files have a record that is cut, and then the whole one."""
        whole = line_of("9", self.images["9"])
        wrong = {"cut in the features": whole[:-20] + "\n", "cut in the boxes": whole[:16] + "\n",
                 "cut in the name": "9\n", "nothing": "\n", "of another image": line_of("3", np.zeros((1, 4))),
                 "not a number": line_of("9", np.full((3, 4), np.nan))}
        for name, record in wrong.items():
            with self.subTest(name):
                self.write("a.tsv", line_of("17", self.images["17"]) + record + whole)
                self.write("ids.txt", "9\n17\n")
                said = self.succeeds(*self.arguments("a.tsv"))
                np.testing.assert_array_equal(self.result(), [self.images[name] for name in ("9", "17")])
                if name == "of another image":
                    self.assertIn("of 3 records 0 repeat an image (the first is kept), 1 not asked for\n", said)
                else:
                    self.assertIn("0 not asked for, 1 cut short or wrong and passed over, such as ", said)
                    self.assertIn("a.tsv:2: ", said)

    def test_files_of_another_kind_are_named(self) -> None:
        for data, message in ((gzip.compress(b"1"), "a.tsv: gzip, expected what is in it: gunzip it"),
                              (b"PK\x03\x04....", "a.tsv: a zip archive"),
                              (b"\x80\x02}q\x00.", "a.tsv: a Python pickle")):
            (self.folder / "a.tsv").write_bytes(data)
            self.assertIn(message, self.fails(*self.arguments("a.tsv")))

    def test_a_cut_file_is_noticed(self) -> None:
        text = line_of("17", self.images["17"]) + line_of("9", self.images["9"])
        for lost in (2, 9, 14):
            self.write("a.tsv", text[:-lost])
            self.write("ids.txt", "17\n9\n")
            self.assertIn("a.tsv:2: image 9: features", self.fails(*self.arguments("a.tsv")))

    def test_wrong_ids_files(self) -> None:
        self.write("ids.txt", "9\n\n17\n")
        self.assertIn("ids.txt:2: empty line", self.fails(*self.arguments("a.tsv")))
        self.write("ids.txt", "")
        self.assertIn("no image ids", self.fails(*self.arguments("a.tsv")))
        (self.folder / "ids.txt").write_bytes(b"\xff\xfe9")
        self.assertIn("ids.txt:1: UTF-16, expected UTF-8 text", self.fails(*self.arguments("a.tsv")))

    def test_marks_and_line_ends(self) -> None:
        """A byte order mark is of no image's id, and a line ends with a line feed alone."""
        odd = "a\u2028b"
        (self.folder / "a.tsv").write_bytes(b"\xef\xbb\xbf" + line_of("17", self.images["17"]).encode()
                                            + line_of(odd, self.images["9"]).encode())
        (self.folder / "ids.txt").write_bytes(b"\xef\xbb\xbf17\r\n" + odd.encode() + b"\r\n")
        self.succeeds(*self.arguments("a.tsv"))
        (self.folder / "a.tsv").write_bytes(b"\xff\xfe1\0")
        self.assertIn("a.tsv:1: UTF-16, expected UTF-8 text", self.fails(*self.arguments("a.tsv")))

    def test_sizes_that_are_none(self) -> None:
        for wrong in ("0", "-1", "9" * 30, "9" * 5000):
            done = self.run_script(*self.arguments("a.tsv"), "--width", wrong)
            self.assertEqual(done.returncode, 2)
            self.assertNotIn("Traceback", done.stderr)
        self.assertIn("Is a directory", self.fails(*self.arguments("a.tsv"), "--out", "."))

    def test_absent_files(self) -> None:
        self.assertIn("none.tsv", self.fails(*self.arguments("a.tsv", "none.tsv")))
        (self.folder / "ids.txt").unlink()
        self.assertIn("ids.txt", self.fails(*self.arguments("a.tsv")))

    def test_memory_does_not_grow_with_the_file(self) -> None:
        """40 MB of TSV under a limit that would not hold them."""
        line = line_of("{}", np.zeros((36, 2048)))
        with open(self.folder / "big.tsv", "w", encoding="utf-8") as stream:
            for number in range(100):
                stream.write(line.replace("{}", str(number), 1))
        self.write("ids.txt", "".join(f"{number}\n" for number in range(100)))
        watched = ("import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
                   "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
                   "except SystemExit as end: print(end.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)")
        peaks = []
        for tsv in ("big.tsv", "one.tsv"):
            if tsv == "one.tsv":
                self.write("one.tsv", line.replace("{}", "0", 1))
                self.write("ids.txt", "0\n")
            done = subprocess.run([sys.executable, "-c", watched, HERE / self.script, *self.arguments(tsv, sizes=())],
                                  capture_output=True, text=True)
            code, peak = done.stdout.splitlines()[-1].split()
            self.assertEqual(code, "0", done.stderr)
            peaks.append(int(peak))
        self.assertLess(peaks[0] - peaks[1], 8 << 10, "KB more for 100 images than for one")


if __name__ == "__main__":
    unittest.main()
