#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of query_sheet.py, with a program that answers as `train --query` does. Exits 77 (skipped) without Pillow or
the font."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    from PIL import Image

    import query_sheet
    from script_test import Scratch
except ImportError as missing:
    if missing.name != "PIL":
        raise
    print("test_query_sheet.py: skipped: no module PIL: install python3-pil")
    sys.exit(77)
if not query_sheet.FONT.exists():
    print(f"test_query_sheet.py: skipped: no {query_sheet.FONT}: install fonts-dejavu-core")
    sys.exit(77)

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
PROGRAM = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
echo "unknown: zebra"
echo "  1   0.9000  test 1  a caption 3 of it"
echo "  2  -0.1000  dev 0  "
"""


class Sheet(Scratch):
    script = "query_sheet.py"

    def setUp(self) -> None:
        super().setUp()
        self.data = self.folder / "data"
        self.data.mkdir()
        self.config = self.folder / "my.ini"
        self.config.write_text(f'\ufeff[data]\nfolder = "{self.data}" ; of pictures\n', encoding="utf-8")
        self.program = self.folder / "answer"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.out = self.folder / "sheet.png"

    def command(self, split: str, *rest: str) -> list[str]:
        return [str(self.config), str(self.out), split, *rest, "--train", str(self.program)]

    def picture(self, name: str, colour: tuple[int, ...], size: tuple[int, int], **options: object) -> None:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB" if len(colour) == 3 else "RGBA", size, colour).save(path, **options)

    def test_pictures(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # lies on its side
        self.picture("a.png", RED, (40, 20))
        self.picture("b.png", GREEN, (400, 200), exif=exif)
        self.picture("c.png", (*BLUE, 0), (9, 9))
        (self.data / "test_pictures.txt").write_text("a.png\nb.png\n")
        (self.data / "dev_pictures.txt").write_text("c.png\n")
        self.succeeds(*self.command("all", "a zebra", "many " * 20, "--top", "3", "--side", "80"))
        with Image.open(self.out) as sheet:
            self.assertEqual(sheet.size, (300 + 3 * 88 + 8, 2 * 88 + 8))
            for top in (8, 96):
                self.assertEqual(sheet.getpixel((340, top + 2)), GREEN)  # upright: twice as high as wide
                self.assertEqual(sheet.getpixel((302, top + 40)), WHITE)
                self.assertEqual(sheet.getpixel((428, top + 40)), WHITE)  # nothing of what is transparent
        asked = (self.folder / "asked").read_text().splitlines()
        self.assertEqual(asked[0], f"{self.config} --query a zebra --top 3")
        self.assertEqual(len(asked), 2)

    def test_thumbnails(self) -> None:
        for split, row, colour in (("test", 1, RED), ("dev", 0, BLUE)):
            self.picture(f"thumbs/{split}/{row:04d}.png", colour, (72, 72))
        self.succeeds(*self.command("test", "a zebra"))
        with Image.open(self.out) as sheet:
            self.assertEqual(sheet.size, (300 + 6 * 80 + 8, 88))
            self.assertEqual((sheet.getpixel((300, 8)), sheet.getpixel((371, 79))), (RED, RED))
            self.assertEqual(sheet.getpixel((380, 8)), BLUE)
        self.assertIn("--split test", (self.folder / "asked").read_text())

    def test_picture_that_is_read_in_spite_of_its_faults(self) -> None:
        """What Pillow warns of is nothing to say."""
        self.picture("a.jpg", RED, (30, 20), exif=b"Exif\0\0II*\0\x08\0\0\0\x09\0")
        for split in ("test", "dev"):
            (self.data / f"{split}_pictures.txt").write_text("a.jpg\na.jpg\n")
        self.assertEqual(self.run_script(*self.command("test", "a zebra")).stderr, "")

    def test_run_folder(self) -> None:
        run = self.folder / "run"
        run.mkdir()
        self.config.rename(run / "config.ini")
        self.config = run
        self.picture("thumbs/test/0001.png", RED, (72, 72))
        self.picture("thumbs/dev/0000.png", RED, (72, 72))
        self.succeeds(*self.command("test", "a zebra"))

    def test_faults(self) -> None:
        (self.folder / "asked").touch()
        (self.data / "test_pictures.txt").write_text("a.png\n")
        self.assertIn("test_pictures.txt: 1 pictures, expected one for image 1", self.fails(*self.command("test", "x")))
        (self.data / "test_pictures.txt").write_text("a.png\nnone.png\n")
        self.assertIn("none.png", self.fails(*self.command("test", "x")))
        (self.data / "none.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        self.assertIn("none.png: no picture, or a broken one", self.fails(*self.command("test", "x")))
        self.config.write_text("[run]\nseed = 1\n")
        self.assertIn("my.ini: no [data] folder", self.fails(*self.command("test", "x")))
        self.config.write_text("seed\n")
        self.assertIn("my.ini: ", self.fails(*self.command("test", "x")))
        self.config.write_text(f"[data]\nfolder = {self.data}\n")
        self.program.write_text("#!/bin/sh\necho 'my.ini:3: wrong' >&2\nexit 2\n")
        self.assertIn("query_sheet.py: my.ini:3: wrong\n", self.fails(*self.command("test", "x")))
        self.program.write_text("#!/bin/sh\n")
        self.assertIn("no images in its answer", self.fails(*self.command("test", "x")))


if __name__ == "__main__":
    unittest.main()
