#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of prepare_stamps.py and prepare_clipart.py, on a few drawings of their own. Exits 77 (skipped) without
NumPy, Pillow or rsvg-convert."""

from __future__ import annotations

import shutil
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def skip(reason: str) -> None:
    print(f"test_prepare_drawings.py: skipped: {reason}")
    sys.exit(77)


try:
    from PIL import Image

    from prepare_folder import clipart
    from script_test import Scratch
except ImportError as missing:
    if missing.name not in ("numpy", "PIL"):
        raise
    skip(f"no module {missing.name}: install python3-numpy and python3-pil")
if not shutil.which("rsvg-convert"):
    skip("no rsvg-convert: install librsvg2-bin")

SHAPE = '<rect width="{width}" height="10" fill="rgb({shade},90,0)"/>'
METADATA = """<metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><Work xmlns="http://web.resource.org/cc/">
 <dc:title>{title}</dc:title><dc:description>{description}</dc:description>
 <dc:creator><Agent><dc:title>Nicu Buculei</dc:title></Agent></dc:creator>
 <dc:subject><rdf:Bag>{keywords}</rdf:Bag></dc:subject></Work></rdf:RDF></metadata>"""


def drawing(path: Path, shade: int, title: str = "", keywords: str = "", description: str = "") -> Path:
    """An SVG of a shape that no other shade has."""
    items = "".join(f"<rdf:li>{word}</rdf:li>" for word in keywords.split("|"))
    text = METADATA.format(title=title, keywords=items, description=description) if title or keywords else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = SHAPE.format(width=1 + shade % 19, shade=shade)
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10">{text}{shape}</svg>', encoding="utf-8")
    return path


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


class Stamps(Scratch):
    script = "prepare_stamps.py"

    def stamp(self, name: str, sentence: str, shade: int, photograph: bool = False) -> None:
        path = self.folder / "stamps" / name
        drawing(path.with_suffix(".svg"), shade)
        path.with_suffix(".txt").write_text(f"{sentence}\nde.utf8=Etwas.\n", encoding="utf-8")
        if photograph:
            Image.new("RGB", (9, 5), (shade, 9, 200)).save(path.with_suffix(".png"))

    def test_folder(self) -> None:
        for number in range(40):
            self.stamp(f"food/thing{number}", f"Thing {number}.", 6 * number, photograph=number % 2 == 0)
        self.stamp("symbols/alphabets/a", "The letter A.", 250)
        drawing(self.folder / "stamps" / "food" / "nameless.svg", 251)
        self.stamp("food/broken", "Broken.", 252)
        (self.folder / "stamps" / "food" / "broken.svg").write_text("<svg")
        out = self.folder / "out"
        said = self.succeeds(out, "--stamps", self.folder / "stamps", "--splits", "train=60,dev=20,test=20", "--side", "32")
        self.assertIn("broken.svg: ", said)
        captions, pictures = [], []
        for split in ("train", "dev", "test"):
            captions += lines(out / f"{split}_caps.txt")
            pictures += lines(out / f"{split}_pictures.txt")
        self.assertEqual(sorted(captions), sorted(f"Thing {number}." for number in range(40)))
        for caption, name in zip(captions, pictures):
            number = int(caption.split()[1].rstrip("."))
            rendered = number % 2 == 1
            self.assertEqual(name, f"{'pictures' if rendered else '../stamps'}/food/thing{number}.png")
            with Image.open(out / name) as picture:
                self.assertEqual(picture.size, (32, 16) if rendered else (9, 5))
        self.assertIn("GNU General Public License", (out / "SOURCES.txt").read_text())

    def test_no_stamps(self) -> None:
        (self.folder / "empty").mkdir()
        self.assertIn("install-packages stamps", self.fails(self.folder / "out", "--stamps", self.folder / "empty"))


class Clipart(Scratch):
    script = "prepare_clipart.py"

    def test_folder(self) -> None:
        root = self.folder / "svg"
        for number in range(60):
            word = f"{chr(97 + number // 10)}{chr(97 + number % 10)}x"
            drawing(root / "animals" / f"{word}_01.svg", 4 * number, f"{word} beast", "animal|hash(0x8a)|beast")
        drawing(root / "shapes" / "star.svg", 255, "star", "star")
        (root / "animals" / "again.svg").symlink_to("aax_01.svg")
        (root / "animals" / "broken.svg").write_text("<svg")
        broken = drawing(root / "animals" / "undrawn.svg", 3, "undrawn beast", "animal")
        broken.write_text(broken.read_text().replace('width="20"', 'width="20000000000"'))
        out = self.folder / "out"
        said = self.succeeds(out, "--drawings", root, "--splits", "train=60,dev=20,test=20", "--side", "32")
        self.assertIn("62 drawings, 1 that cannot be read", said)
        found: dict[str, list[str]] = {}
        for split in ("train", "dev", "test"):
            names = lines(out / f"{split}_pictures.txt")
            for row, caption in zip(lines(out / f"{split}_ids.txt"), lines(out / f"{split}_caps.txt")):
                found.setdefault(names[int(row)], []).append(caption)
        self.assertEqual(found["pictures/animals/aax_01.png"], ["aax beast", "aax beast, animal, beast"])
        self.assertGreaterEqual(len(found), 60)
        self.assertNotIn("pictures/shapes/star.png", found)
        with Image.open(out / "pictures/animals/aax_01.png") as picture:
            self.assertEqual(picture.size, (32, 16))
        self.assertIn("public domain", (out / "SOURCES.txt").read_text())

    def test_no_drawings(self) -> None:
        (self.folder / "empty").mkdir()
        self.assertIn("install-packages clipart", self.fails(self.folder / "out", "--drawings", self.folder / "empty"))


class Captions(Scratch):
    def captions(self, name: str, title: str = "", keywords: str = "", description: str = "", others: int = 0) -> list[str]:
        """Of a drawing that `others` share title and keywords with."""
        path = drawing(self.folder / name, 1, title, keywords, description)
        more = [drawing(self.folder / f"other{i}_{chr(97 + i)}{chr(98 + i)}{chr(99 + i)}.svg", 1, title, keywords, description)
                for i in range(others)]
        return clipart.captions_of(filter(None, map(clipart.read_drawing, [path, *more]))).get(path, [])

    def test_title_keywords_description(self) -> None:
        self.assertEqual(self.captions("bored_dog_01.svg", "Bored_dog 01", "Mammal|dog|hash|0x8b7|Nicu Buculei", "A dog that is bored."),
                         ["bored dog", "bored dog, mammal, dog", "a dog that is bored"])
        self.assertEqual(self.captions("x.svg", "Clipart by Nicu Buculei - contour_chipmunk", "animal", "mail@x.org or so"),
                         ["contour chipmunk", "contour chipmunk, animal"])
        self.assertEqual(self.captions("algeria.svg", " algeria", "flag|africa"), ["flag of algeria", "flag of algeria, flag, africa"])

    def test_file_name_where_the_title_is_a_collections(self) -> None:
        self.assertEqual(self.captions("sleepingCat_nicu_bucu_02.svg", "Various cliparts", "animal", others=9),
                         ["sleeping cat", "sleeping cat, animal"])
        self.assertEqual(self.captions("a_01.svg", "Various cliparts", "animal", others=9), [])

    def test_not_xml(self) -> None:
        (self.folder / "x.svg").write_text("<svg")
        self.assertIsNone(clipart.read_drawing(self.folder / "x.svg"))


if __name__ == "__main__":
    unittest.main()
