#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of convert_judgments.py, on a package of its form."""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
except ImportError:
    print("needs numpy")
    sys.exit(77)

from script_test import Scratch  # noqa: E402


class ConvertJudgments(Scratch):
    script = "convert_judgments.py"

    def setUp(self) -> None:
        super().setUp()
        self.package = self.folder / "eccv_caption"
        data = self.package / "data"
        data.mkdir(parents=True)
        np.save(data / "coco_test_ids.npy", np.array([70, 30, 50, 90]))
        self.put("original_caption_to_image", {"70": [8], "30": [8], "50": [2], "90": [2]})
        self.put("eccv_image_to_caption", {"2": [90, 50, 30], "8": [70, 70], "5": [70]})
        self.put("eccv_caption_to_image", {"30": [8, 2], "50": [2, 77]})

    def put(self, name: str, what: object) -> None:
        (self.package / "data" / f"{name}.json").write_text(json.dumps(what))

    def convert(self, *more: str | Path) -> dict:
        said = self.succeeds("eccv", self.package, self.folder / "out.json", *more)
        self.assertIn("2 judgments left out", said)
        return json.loads((self.folder / "out.json").read_text())

    def test_rows_are_those_of_the_published_order(self) -> None:
        self.assertEqual(self.convert(), {"name": "ECCV Caption", "image_to_text": {"0": [0], "1": [1, 2, 3]},
                                          "text_to_image": {"1": [0, 1], "2": [1]}})

    def test_captions_in_another_order(self) -> None:
        ids = self.folder / "ids.txt"
        ids.write_text("90\n50\n30\n70\n")
        self.assertEqual(self.convert("--captions", ids)["image_to_text"], {"0": [0, 1, 2], "1": [3]})

    def test_what_is_wrong_is_said(self) -> None:
        ids = self.folder / "ids.txt"
        for text, said in (("90\n90\n", "twice"), ("x\n", "the id of a caption a line"), ("12\n", "none of COCO's")):
            ids.write_text(text)
            self.assertIn(said, self.fails("eccv", self.package, self.folder / "out.json", "--captions", ids))
        whole = (self.package / "data" / "coco_test_ids.npy").read_bytes()
        for data, said in ((whole[:20], "expected a whole .npy"), (whole[:-1], "expected a whole .npy"), (b"", "expected a whole .npy"),
                           (b"PK\x03\x04", "a zip archive")):
            (self.package / "data" / "coco_test_ids.npy").write_bytes(data)
            self.assertIn(f"coco_test_ids.npy: {said}" if said[0] == "a" else said, self.fails("eccv", self.package, self.folder / "out.json"))
        for ids, said in ((np.array(3), "expected one row or more of numbers"), (np.array([np.inf]), "the id of a caption"),
                          (np.ones((2, 2)), "the id of a caption"), (np.array(["a"]), "expected one row or more of numbers")):
            np.save(self.package / "data" / "coco_test_ids.npy", ids)
            self.assertIn(said, self.fails("eccv", self.package, self.folder / "out.json"))
        (self.package / "data" / "coco_test_ids.npy").write_bytes(whole)
        for text in ('{"30": [Infinity]}', '{"30": ' + "[" * 100000 + "}"):
            (self.package / "data" / "eccv_caption_to_image.json").write_text(text)
            self.assertIn("expected JSON", self.fails("eccv", self.package, self.folder / "out.json"))
        self.put("eccv_caption_to_image", [1])
        self.assertIn("expected JSON", self.fails("eccv", self.package, self.folder / "out.json"))
        self.assertIn("cxc_image", self.fails("cxc", self.package, self.folder / "out.json"))
        self.put("original_caption_to_image", {"70": [8], "30": [], "50": [2], "90": [2]})
        self.assertIn("caption 30 has no image", self.fails("eccv", self.package, self.folder / "out.json"))


if __name__ == "__main__":
    unittest.main()
