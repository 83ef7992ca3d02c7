#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of `data/prepare`: every kind of source, and everything that can be wrong with one. Exits 77 (skipped)
without NumPy and Pillow."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import shutil
import subprocess
import sys
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

try:
    import numpy as np
    from PIL import Image

    from prepare_folder import headers, splits
    from script_test import Scratch
except ImportError as missing:
    if missing.name not in ("numpy", "PIL"):
        raise
    print(f"test_prepare_folder.py: skipped: no module {missing.name}: install python3-numpy and python3-pil")
    sys.exit(77)

KARPATHY = {"images": [
    {"filename": "a.png", "filepath": "val2014", "split": "train", "sentences": [{"raw": "A dog."}, {"tokens": ["a", "cat"]}]},
    {"filename": "b.png", "split": "val", "sentences": [{"raw": "Two."}]},
    {"filename": "c.png", "split": "restval", "sentences": [{"raw": "Three."}]},
    {"filename": "d.png", "split": "test", "sentences": [{"raw": "Four."}]},
]}


# The script, in this process: it is run many times.
SPEC = spec_from_loader("prepare", SourceFileLoader("prepare", str(HERE / "prepare")))
assert SPEC and SPEC.loader
prepare = module_from_spec(SPEC)
SPEC.loader.exec_module(prepare)


def picture(path: Path, shade: int, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 255 - shade, 7)).save(path)
    return path


class Prepared(Scratch):
    """A test with a folder of four pictures, a.png to d.png, and a place to write to."""

    script = "prepare"

    def setUp(self) -> None:
        super().setUp()
        for number, name in enumerate("abcd"):
            picture(self.folder / "photos" / f"{name}.png", 40 * number)
        self.out = self.folder / "out"

    def run_script(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        before, sys.argv = sys.argv, ["prepare", *map(str, arguments)]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = prepare.main()
        finally:
            sys.argv = before
        return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), err.getvalue())

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def lines(self, name: str) -> list[str]:
        text = (self.out / name).read_bytes().decode()
        self.assertTrue(text.endswith("\n"))
        return text[:-1].split("\n")

    def split(self, name: str) -> dict[str, list[str]]:
        """The captions of each picture, whose names are without folders."""
        names = [Path(line).name for line in self.lines(f"{name}_pictures.txt")]
        found: dict[str, list[str]] = {one: [] for one in names}
        captions, rows = self.lines(f"{name}_caps.txt"), self.lines(f"{name}_ids.txt")
        self.assertEqual(len(captions), len(rows))
        for caption, row in zip(captions, rows):
            found[names[int(row)]].append(caption)
        return found

    def reads(self, name: str, content: str | bytes, expected: dict[str, list[str]], *options: str) -> str:
        """A source that is wholly of split train gives these pictures and captions."""
        said = self.succeeds(f"train={self.write(name, content)}", "--out", self.out, "--overwrite", *options)
        self.assertEqual(self.split("train"), expected)
        return said

    def refuses(self, name: str, content: str | bytes, *words: str, options: tuple[str, ...] = ()) -> None:
        nowhere = self.folder / "refused"
        message = self.fails(self.write(name, content), "--out", nowhere, *options)
        self.assertTrue(message.startswith("prepare: "), message)
        for word in words:
            self.assertIn(word, message)
        self.assertFalse(nowhere.exists())


class Tables(Prepared):
    EXPECTED = {"a.png": ["A dog, black.", "One."], "b.png": ["Two."]}

    def test_header_names_and_delimiters(self) -> None:
        for name, text in {
            "t.csv": 'image,caption\na.png,"A dog, black."\nb.png,Two.\na.png,One.\n',
            "other.csv": 'n;caption;file_name\n1;"A dog, black.";a.png\n2;Two.;b.png\n3;One.;a.png\n',
            "t.tsv": "Picture\tSentence\na.png\tA dog, black.\nb.png\tTwo.\na.png\tOne.\n",
            "t.txt": "path|text\na.png|A dog, black.\nb.png|Two.\na.png|One.\n",
            "wide.csv": 'image,caption_1,caption 2\na.png,"A dog, black.",One.\nb.png,Two.,\n',
            "cells.csv": 'filename,raw\na.png,"[""A dog, black."", ""One.""]"\nb.png,Two.\n',
            "crlf.csv": '\ufeffimage,caption\r\na.png,"A dog, black."\r\n\r\nb.png,Two.\r\na.png,One.',
        }.items():
            with self.subTest(name):
                self.assertNotIn("empty captions", self.reads(name, text, self.EXPECTED))

    def test_columns_that_are_named(self) -> None:
        text = 'key;where;what\n1;a.png;"A dog, black."\n1;b.png;Two.\n1;a.png;One.\n'
        self.reads("t.csv", text, self.EXPECTED, "--columns", "where,what")
        self.reads("t.csv", text.partition("\n")[2], self.EXPECTED, "--columns", "2,3")

    def test_quotes_and_lines_within_fields(self) -> None:
        self.reads("t.csv", 'image,caption\na.png,"A ""big""\r\n dog\u2028here"\n', {"a.png": ['A "big" dog here']})
        self.reads("t.tsv", 'image\tcaption\na.png\t"Stop!" he said.\nb.png\t"no\n',
                   {"a.png": ['"Stop!" he said.'], "b.png": ['"no']})
        self.reads("t.tsv", 'image\tcaption\na.png\t"Two\twords"\n', {"a.png": ["Two words"]})

    def test_json_lines_and_arrays(self) -> None:
        objects = [{"image": "a.png", "captions": ["A dog, black.", {"raw": "One."}]}, {"image": "b.png", "caption": "Two."}]
        expected = self.EXPECTED
        self.reads("t.jsonl", "\n".join(map(json.dumps, objects)) + "\n\n", expected)
        self.reads("t.json", "\r\n".join(map(json.dumps, objects)), expected)
        self.reads("t.json", json.dumps(objects, indent=1), expected)

    def test_faults_name_file_and_line(self) -> None:
        for name, text, *words in (
            ("t.csv", "image,caption\na.png,A dog, black.\n", "t.csv:2: 3 fields, expected 2"),
            ("t.csv", 'image,caption\na.png,One.\nb.png,"Two.\n', "t.csv:3: a row that cannot be read"),
            ("t.csv", 'image,caption\na.png,"One\nand a half."\n\nb.png,Two,2\n', "t.csv:5: 3 fields"),
            ("t.csv", "colour,size\nred,3\n", "t.csv:1: the columns are 'colour', 'size'", "--columns"),
            ("t.csv", "image,caption\n,One.\n", "t.csv:2: no picture"),
            ("t.csv", "", "t.csv: empty"),
            ("t.jsonl", '{"image": "a.png", "caption": ' + "9" * 5000 + "}\n", "t.jsonl:1: JSON that cannot be read"),
            ("t.jsonl", "[" * 100000 + "\n", "t.jsonl:1: JSON that cannot be read"),
            ("t.json", "[" * 100000 + "\n", "t.json: JSON that cannot be read"),
            ("t.csv", "image,caption\n", "no pictures and captions"),
            ("t.csv", b"image,caption\na.png,\xff\n", "t.csv:2: invalid UTF-8 at byte 7"),
            ("t.csv", "image,caption\n".encode("utf-16"), "UTF-16"),
            ("t.csv", b"PK\x03\x04rest", "a zip archive"),
            ("t.jsonl", '{"image": "a.png", "caption": "x"}\n{"image"\n', "t.jsonl:2: not JSON"),
            ("t.jsonl", '{"image": "a.png"}\n', "t.jsonl:1: keys image, expected"),
            ("t.jsonl", '{"image": 3, "caption": "x"}\n', "t.jsonl:1: 'image' is 3"),
            ("t.jsonl", '{"image": "a.png", "captions": [4]}\n', "t.jsonl:1: a caption is 4"),
            ("t.jsonl", '{"image": "a.png", "caption": "\\u0000"}\n', "t.jsonl:1: a NUL character"),
            ("t.jsonl", '{"image": "a.png", "caption": "\\ud800"}\n', "t.jsonl:1: half a surrogate"),
            ("t.jsonl", '{"image": "a\\n.png", "caption": "x"}\n', "t.jsonl:1: 'a\\n.png'"),
            ("t.jsonl", "[1]\n", "t.jsonl:1: [1], expected an object"),
            ("t.jsonl", '{"image": "a.png", "captions": ' + "[" * 600 + "]" * 600 + "}\n", "t.jsonl:1: a caption is [[[[["),
            ("t.jsonl", '{"image": "a.png", "caption": ' + '{"raw":' * 600 + "0" + "}" * 600 + "}\n", "t.jsonl:1: a caption is {"),
            ("t.jsonl", '{"a\\n\\u2028": 1}\n', "t.jsonl:1: keys a"),
            ("t.csv", "image,caption,split\na.png,One.," + "x" * 300 + "\n", "t.csv:2: split 'xxxx"),
            ("t.json", '{"images": [}', "t.json:1: not JSON"),
            ("t.json", '{\n"rows": []\n}', "JSON of another kind"),
            ("t.csv", "image,caption,split\na.png,One.,a/b\n", "t.csv:2: split 'a/b'"),
            ("t.csv", "image,caption,split\na.png,One.,\nb.png,Two.,test\n", "a.png has no split and others have one"),
        ):
            with self.subTest(text=text):
                self.refuses(name, text, *words)
                (self.folder / "photos" / name).unlink()

    def test_number_of_a_column_that_is_not_there(self) -> None:
        self.refuses("t.csv", '"a,b,c.png",One.\n', "t.csv:1: 2 fields, expected 3", options=("--columns", "1,3"))
        self.refuses("t.csv", "a.png,One.\n", "t.csv:1: the columns are", options=("--columns", "1,3"))
        for wrong in ("0,1", "1,x", "1,²", "9" * 5000 + ",1"):
            self.refuses("t.csv", "a.png,One.\n", "expected names, or numbers from 1 on", options=("--columns", wrong))

    def test_long_first_line(self) -> None:
        objects = [{"image": "a.png", "caption": "狗" * 30000}]
        self.reads("t.txt", json.dumps(objects, ensure_ascii=False, separators=(",", ":")), {"a.png": ["狗" * 30000]})

    def test_folders_parted_by_backslashes(self) -> None:
        picture(self.folder / "photos" / "x" / "e.png", 77)
        self.reads("t.csv", "image,caption\nx\\e.png,One.\n", {"e.png": ["One."]})

    def test_source_that_is_not_there(self) -> None:
        self.assertIn("none.csv: no such file", self.fails(self.folder / "none.csv", "--out", self.out))
        source = self.write("t.csv", "image,caption\na.png,One.\n")
        self.assertIn("nowhere: no such folder", self.fails(source, "--pictures", self.folder / "nowhere", "--out", self.out))


class Published(Prepared):
    def test_karpathy(self) -> None:
        picture(self.folder / "photos" / "val2014" / "a.png", 200)
        source = self.write("dataset_x.json", json.dumps(KARPATHY))
        self.succeeds(source, "--out", self.out)
        self.assertEqual(self.split("train"), {"a.png": ["A dog.", "a cat"], "c.png": ["Three."]})
        self.assertIn("../photos/val2014/a.png", self.lines("train_pictures.txt"))
        self.assertEqual(self.split("dev"), {"b.png": ["Two."]})
        self.assertEqual(self.split("test"), {"d.png": ["Four."]})
        self.succeeds(source, "--out", self.out, "--overwrite", "--restval", "skip")
        self.assertEqual(list(self.split("train")), ["a.png"])

    def test_coco(self) -> None:
        for name, row, key in (("captions_train2014.json", "a.png", 7), ("captions_val2014.json", "b.png", 9)):
            self.write(name, json.dumps({"images": [{"id": key, "file_name": row}],
                                         "annotations": [{"image_id": key, "caption": f"{row} one\n"},
                                                         {"image_id": key, "caption": f"{row} two"}]}))
        photos = self.folder / "photos"
        self.succeeds(photos / "captions_train2014.json", photos / "captions_val2014.json", "--pictures", photos,
                      "--out", self.out)
        self.assertEqual(self.split("train"), {"a.png": ["a.png one", "a.png two"]})
        self.assertEqual(self.split("dev"), {"b.png": ["b.png one", "b.png two"]})
        (photos / "train2014").mkdir()
        (photos / "a.png").rename(photos / "train2014" / "a.png")
        self.succeeds(photos / "captions_train2014.json", "--out", self.out, "--overwrite")
        self.assertEqual(self.lines("train_pictures.txt"), ["../photos/train2014/a.png"])

    def test_flickr(self) -> None:
        table = "image_name| comment_number| comment\na.png| 0| A dog | a bar .\nb.png| 4   A dog runs .\n"
        said = self.reads("results.csv", table, {"a.png": ["A dog | a bar ."], "b.png": ["A dog runs ."]})
        self.assertIn("mended: 1\n", said)
        self.assertIn("results.csv:3: 'b.png| 4", said)
        self.reads("x.token", 'a.png#0\tA "dog\nb.png#0\tTwo\na.png#1\tOne\n', {"a.png": ['A "dog', "One"], "b.png": ["Two"]})

    def test_lists(self) -> None:
        source = self.write("x.token", "a.png#0\tOne\nb.png#0\tTwo\nc.png#0\tThree\n")
        train, test = self.write("train.txt", "a.png\n"), self.write("test.txt", "b\n")
        said = self.succeeds(source, "--lists", f"train={train}", f"test={test}", "--out", self.out)
        self.assertEqual((self.split("train"), self.split("test")), ({"a.png": ["One"]}, {"b.png": ["Two"]}))
        self.assertIn("in no list of --lists, left out: 1", said)
        test.write_text("b\na.png\n")
        self.assertIn("test.txt:2: a.png is in test here and in train in",
                      self.fails(source, "--lists", f"train={train}", f"test={test}", "--out", self.folder / "no"))

    def test_faults(self) -> None:
        for name, content, word in (
            ("x.json", {"images": [{"filename": "a.png", "sentences": []}]}, "images[0]: 'split' is not there"),
            ("x.json", {"images": [{"filename": "a.png", "split": "train", "sentences": [3]}]}, "images[0]: a caption is 3"),
            ("x.json", {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 2, "caption": "x"}]},
             "annotations[0]: 'image_id' is 2"),
            ("x.json", {"images": [{"id": 1, "file_name": "a.png"}] * 2, "annotations": []}, "images[1]: 'id' is 1"),
            ("x.json", {"images": [4], "annotations": []}, "images[0]: expected an object"),
        ):
            with self.subTest(word):
                self.refuses(name, json.dumps(content), word)
        self.refuses("x.token", "a.png#0\tOne\nb.png Two\n", "x.token:2: 'b.png Two', expected IMAGE#NUMBER")
        self.refuses("results.csv", "image_name| comment_number| comment\na.png one\n", "results.csv:2: 'a.png one'")


class Folders(Prepared):
    def test_text_beside_each_picture(self) -> None:
        self.write("a.txt", "One.\n\nA dog.\n")
        self.write("b.txt", "Two.")
        self.write("notes.txt", "not a caption")
        said = self.succeeds(f"train={self.folder / 'photos'}", "--out", self.out)
        self.assertEqual(self.split("train"), {"a.png": ["One.", "A dog."], "b.png": ["Two."]})
        self.assertIn("pictures without a caption, left out: 2", said)
        self.assertIn("notes.txt: no picture", said)

    def test_folders_named_as_splits(self) -> None:
        for number, split in enumerate(("train", "val")):
            picture(self.folder / "set" / split / "x" / f"{number}.jpg", 90 * number).with_suffix(".txt").write_text(f"{split}\n")
        self.succeeds(self.folder / "set", "--out", self.out)
        self.assertEqual((self.split("train"), self.split("dev")), ({"0.jpg": ["train"]}, {"1.jpg": ["val"]}))

    def test_folders_that_are_not_named_as_splits(self) -> None:
        for number, name in enumerate(("train", "station")):
            picture(self.folder / "set" / name / f"{number}.jpg", 90 * number).with_suffix(".txt").write_text(f"{name}\n")
        self.succeeds(self.folder / "set", "--splits", "test=1", "--out", self.out)
        self.assertEqual(self.split("test"), {"1.jpg": ["station"], "0.jpg": ["train"]})

    def test_data_folders_joined(self) -> None:
        table = self.write("t.csv", "image,caption,split\na.png,One.,train\nb.png,Two.,test\n")
        self.succeeds(table, "--out", self.folder / "first")
        other = self.write("u.csv", "image,caption\nc.png,Three.\n")
        self.succeeds(f"train={other}", "--out", self.folder / "second")
        self.succeeds(self.folder / "first", f"train={self.folder / 'second'}", "--out", self.out)
        self.assertEqual(self.split("train"), {"a.png": ["One."], "c.png": ["Three."]})
        self.assertEqual(self.split("test"), {"b.png": ["Two."]})

    def test_faults(self) -> None:
        (self.folder / "empty").mkdir()
        self.assertIn("no pictures", self.fails(self.folder / "empty", "--out", self.out))
        self.assertIn("4 pictures and no .txt", self.fails(self.folder / "photos", "--out", self.out))
        self.write("a.txt", b"One.\n\xff\n")
        self.assertIn("a.txt:2: invalid UTF-8", self.fails(self.folder / "photos", "--out", self.out))


class Checks(Prepared):
    """What is wrong with pictures and captions."""

    def test_missing_pictures(self) -> None:
        text = "image,caption\na.png,One.\nnone.png,Two.\nhttps://x.org/b.png,Three.\n"
        self.refuses("t.csv", text, "t.csv:3: none.png is not there", "(2 such)", "--skip missing")
        said = self.reads("t.csv", text, {"a.png": ["One."]}, "--skip", "missing")
        self.assertIn("pictures that are not there, left out: 2", said)
        self.assertIn("is an address", said)
        self.refuses("t.csv", "image,caption\nnone.png,Two.\n", "--pictures FOLDER")

    def test_name_without_ending(self) -> None:
        self.reads("t.csv", "image,caption\na,One.\n", {"a.png": ["One."]})

    def test_unreadable_pictures(self) -> None:
        self.write("e.jpg", b"")
        self.write("f.jpg", b"<!DOCTYPE html><p>404")
        self.write("g.png", b"\x89PNG\r\n\x1a\nrest")
        Image.new("RGB", (4, 4)).save(self.folder / "photos" / "h.gif")
        text = "image,caption\na.png,One.\n" + "".join(f"{name},Two.\n" for name in ("e.jpg", "f.jpg", "g.png", "h.gif"))
        self.refuses("t.csv", text, "t.csv:3: e.jpg: an empty file", "(4 such)", "--skip unreadable")
        said = self.reads("t.csv", text, {"a.png": ["One."]}, "--skip", "unreadable")
        for word in ("f.jpg: a web page", "g.png: no picture, or a broken one", "h.gif: a picture of kind GIF, expected JPEG"):
            self.assertIn(word, said)

    def test_decode_finds_pictures_cut_short(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(self.folder / "photos" / "n.jpg")
        self.write("n.jpg", (self.folder / "photos" / "n.jpg").read_bytes()[:-900])
        text = "image,caption\na.png,One.\nn.jpg,Two.\n"
        self.reads("t.csv", text, {"a.png": ["One."], "n.jpg": ["Two."]})
        self.assertIn("n.jpg: a broken picture", self.fails(self.folder / "photos" / "t.csv", "--decode", "--out",
                                                           self.folder / "no"))

    def test_empty_and_repeated_captions(self) -> None:
        said = self.reads("t.csv", "image,caption\na.png,One.\na.png, \na.png,One. \nb.png,\n", {"a.png": ["One."]})
        for word in ("empty captions, left out: 2", "t.csv:3: of a.png", "captions twice at one picture, left out: 1",
                     "t.csv:4: 'One.', which", "pictures without a caption, left out: 1"):
            self.assertIn(word, said)
        self.refuses("u.csv", "image,caption\na.png,\n", "no picture has one")

    def test_strict(self) -> None:
        self.refuses("t.csv", "image,caption,split\na.png,One.,train\na.png,,train\n", "t.csv:3: of a.png", "--strict",
                     options=("--strict",))

    def test_the_same_file_twice_is_one_image(self) -> None:
        self.write("same.png", (self.folder / "photos" / "a.png").read_bytes())
        said = self.reads("t.csv", "image,caption\na.png,One.\nb.png,Two.\nsame.png,Three.\n",
                          {"a.png": ["One.", "Three."], "b.png": ["Two."]})
        self.assertIn("t.csv:4: same.png is a.png", said)

    def test_picture_in_two_splits(self) -> None:
        self.write("same.png", (self.folder / "photos" / "a.png").read_bytes())
        rows = [f"a.png,One {i}.,{split}\n" for split in ("train", "test", "dev") for i in range(3)]
        twice = "image,caption,split\n" + "".join(rows)
        self.refuses("t.csv", twice, "t.csv:5: a.png is in test here and in train", "(2 such)")
        for name in ("a.png", "same.png"):
            text = f"image,caption,split\na.png,One.,train\nb.png,Two.,train\n{name},Three.,test\n"
            self.refuses("t.csv", text, f"t.csv:4: {name}", "--skip shared")
            self.succeeds(self.folder / "photos" / "t.csv", "--skip", "shared", "--out", self.out, "--overwrite")
            self.assertEqual(self.split("train"), {"b.png": ["Two."]})
            self.assertEqual(self.split("test"), {"a.png": ["One.", "Three."]})
            shutil.rmtree(self.out)
        extra = "image,caption,split\na.png,One.,test_new\na.png,Two.,train\nb.png,Three.,train\nb.png,Four.,test_new\n"
        self.succeeds(self.write("u.csv", extra), "--skip", "shared", "--out", self.out)
        self.assertEqual(self.split("test_new"), {"a.png": ["One.", "Two."], "b.png": ["Three.", "Four."]})

    def test_captions_of_train_in_test(self) -> None:
        source = self.write("t.csv", "image,caption,split\na.png,a Dog.,train\nb.png,A dog.,test\n")
        said = self.succeeds(source, "--out", self.out)
        self.assertIn("captions of train in another split too, kept: 1", said)
        self.assertIn("t.csv:3: 'A dog.' of test, also in", said)
        self.assertIn("no split dev", said)
        self.assertEqual([line.split()[0] for line in said.splitlines()[2:4]], ["train", "test"])
        self.assertIn("train has 2 different words", said.splitlines()[4])

    def test_report(self) -> None:
        picture(self.folder / "photos" / "a.jpg", 9, (30, 20))
        said = self.reads("t.csv", "image,caption\na.png,A big dog.\na.png,It's a dog\na.jpg,A cat\n",
                          {"a.png": ["A big dog.", "It's a dog"], "a.jpg": ["A cat"]})
        self.assertRegex(said, r"train +2 +3 +1 +1\.5 +2 +2 +2\.7 +3 +0\.0%")
        self.assertIn("train has 5 different words, 0 of them", said)
        self.assertIn("1 PNG, 1 JPEG; 8x6 to 30x20", said)


class Drawing(Prepared):
    def many(self, count: int) -> str:
        for number in range(count):
            picture(self.folder / "photos" / f"m{number}.png", number % 256, (9 + number // 256, 5))
        return "image,caption\n" + "".join(f"m{i}.png,caption {i} {k}\n" for i in range(count) for k in range(2))

    def drawn(self) -> dict[str, set[str]]:
        return {name: set(self.split(name)) for name in ("train", "dev", "test")}

    def test_by_picture_and_as_shared_out(self) -> None:
        source = self.write("t.csv", self.many(200))
        self.succeeds(source, "--out", self.out, "--seed", "3")
        first = self.drawn()
        self.assertEqual(sum(map(len, first.values())), 200)
        self.assertEqual(len(set().union(*first.values())), 200)
        self.assertTrue(140 < len(first["train"]) < 180 and 8 < len(first["test"]) < 35)
        for caption, row in zip(self.lines("test_caps.txt"), self.lines("test_ids.txt")):
            self.assertIn(f"m{caption.split()[1]}.png", self.lines("test_pictures.txt")[int(row)])
        self.succeeds(source, "--out", self.out, "--overwrite", "--seed", "4")
        self.assertNotEqual(self.drawn(), first)

    def test_pictures_that_are_added_move_no_other(self) -> None:
        text = self.many(120)
        self.succeeds(self.write("t.csv", "\n".join(text.split("\n")[:201])), "--out", self.out)
        before = self.drawn()
        self.succeeds(self.write("t.csv", text), "--out", self.out, "--overwrite")
        self.assertTrue(all(before[name] < self.drawn()[name] for name in before))

    def test_train_is_divided_on_demand(self) -> None:
        text = self.many(60).replace("caption\n", "caption,split\n").replace("0\n", "0,train\n").replace("1\n", "1,train\n")
        source = self.write("t.csv", text + "a.png,other,test\n")
        self.succeeds(source, "--splits", "train=80,dev=20", "--out", self.out)
        self.assertEqual(self.split("test"), {"a.png": ["other"]})
        self.assertTrue(3 < len(self.split("dev")) < 25)

    def test_pictures_that_look_alike_are_drawn_together(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (40, 4, 4, 3), dtype=np.uint8)
        rows = []
        for i, pixels in enumerate(noise):
            for name, side in ((f"p{i}.png", 100), (f"q{i}.jpg", 64)):
                Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(self.folder / "photos" / name)
                rows.append(f"{name},caption of {name}\n")
        source = self.write("t.csv", "image,caption\n" + "".join(rows))
        self.succeeds(source, "--out", self.out, "--decode", "--splits", "train=50,dev=25,test=25")
        for names in self.drawn().values():
            self.assertEqual({name[1:-4] for name in names if name[0] == "p"}, {name[1:-4] for name in names if name[0] == "q"})
        text = "image,caption,split\np1.png,One.,train\nq1.jpg,Two.,test\np2.png,Three.,train\n"
        said = self.succeeds(self.write("u.csv", text), "--decode", "--out", self.folder / "other")
        self.assertIn("pictures that look like one of another split: 1", said)

        self.assertIn("u.csv:2: p1.png of train and q1.jpg of test", said)
        self.succeeds(self.folder / "photos" / "u.csv", "--decode", "--skip", "alike", "--out", self.out, "--overwrite")
        self.assertEqual((self.split("train"), self.split("test")), ({"p2.png": ["Three."]}, {"q1.jpg": ["Two."]}))

    def test_what_is_transparent_is_white(self) -> None:
        for name, colour in (("t.png", (255, 0, 0, 0)), ("u.png", (0, 0, 255, 0)), ("w.png", (0, 0, 255, 255))):
            Image.new("RGBA", (20, 20), colour).save(self.folder / "photos" / name)
        picture(self.folder / "photos" / "v.png", 0)
        text = "image,caption,split\nt.png,One.,train\nu.png,Two.,test\nv.png,Three.,test\nw.png,Four.,test\n"
        said = self.succeeds(self.write("t.csv", text), "--decode", "--out", self.out)
        self.assertIn("pictures that look like one of another split: 1\n", said)

    def test_alike_finds_pairs_across_blocks(self) -> None:
        looks = np.random.default_rng(2).uniform(0, 255, (100, 768)).astype(np.float32)
        looks[-1], looks[50] = looks[3] + 1, looks[49] + 2.9
        looks[20] = looks[21] + 3.1
        for headers.DISTANCES_AT_ONCE in (1, 700, 1 << 24):
            self.assertEqual(headers.alike(looks), [(3, 99), (49, 50)])

    def test_groups(self) -> None:
        self.assertEqual(splits.groups(6, [(0, 3), (3, 5), (1, 2)]), [0, 1, 1, 0, 4, 0])

    def test_faults(self) -> None:
        text = "image,caption\na.png,One.\n"
        self.refuses("t.csv", text, "none fell to", options=("--splits", "train=1,dev=1"))
        for wrong in ("train", "train=x", "train=1,train=2", "train=-1", "a/b=1", "train=inf", "train=nan"):
            self.refuses("t.csv", text, f"--splits {wrong}", options=("--splits", wrong))


class Program(Prepared):
    """As it is run."""

    def test_statuses(self) -> None:
        source = self.write("t.csv", "image,caption\na.png,One.\nnone.png,Two.\n")
        command = [sys.executable, HERE / "prepare", f"train={source}", "--out", self.out]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        self.assertIn("t.csv:3: none.png is not there", done.stderr)
        done = subprocess.run([*command, "--skip", "missing"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.split("train"), {"a.png": ["One."]})
        (self.folder / "photos" / "a.txt").write_text("One.\n")
        (self.folder / "photos" / "\udcff.txt").write_text("One.\n")
        done = subprocess.run([sys.executable, HERE / "prepare", f"train={self.folder / 'photos'}", "--out", "."],
                              capture_output=True, text=True, cwd=self.out)
        self.assertIn("has been prepared already", done.stderr)
        done = subprocess.run([sys.executable, HERE / "prepare", f"train={self.folder / 'photos'}", "--out", ".", "--overwrite"],
                              capture_output=True, text=True, cwd=self.out)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("\\udcff.txt: no picture", done.stdout)
        done = subprocess.run([*command[:2], "/dev/null", "--out", self.out], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        done = subprocess.run([*command, "--skip", "all"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("'all', expected some of missing,unreadable,shared,alike", done.stderr)


    def test_without_memory(self) -> None:
        """One sentence and status 2, or a data folder: never a traceback, a signal or no end."""
        picture(self.folder / "photos" / "large.webp", 9, (2000, 1500))
        source = self.write("t.csv", "image,caption,split\na.png,One.,train\nlarge.webp,Two.,dev\n")
        self.succeeds(source, "--out", self.out)
        (self.out / "cache").write_text("hours of work")
        before = {path: path.read_bytes() for path in self.out.iterdir()}
        command = [sys.executable, HERE / "prepare", source, "--out", self.out, "--overwrite", "--decode"]
        statuses = []
        for mebibytes in (64, 120, 200, 300, 400, 440, *range(462, 500, 6), 600, 800, 1 << 17):
            limit = mebibytes << 20
            done = subprocess.run(command, capture_output=True, text=True, timeout=60,
                                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
            statuses.append(done.returncode)
            self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["out", "photos"], mebibytes)
            self.assertEqual({path: path.read_bytes() for path in self.out.iterdir()}, before, mebibytes)
            if done.returncode != 0:
                self.assertEqual(done.returncode, 2, (mebibytes, done.stderr))
                self.assertRegex(done.stderr, r"\Aprepare: out of memory [^\n]+: [^\n]+\n\Z")
        self.assertEqual((statuses[0], statuses[-1]), (2, 0))


class Writing(Prepared):
    TABLE = "image,caption,split\na.png,One.,train\nb.png,Two.,dev\n"

    def test_pictures_are_referred_to(self) -> None:
        source = self.write("t.csv", self.TABLE)
        self.succeeds(source, "--out", self.out)
        self.assertEqual(self.lines("train_pictures.txt"), ["../photos/a.png"])
        far = self.folder / "far" / "away"
        self.succeeds(source, "--out", far)
        self.assertEqual((far / "train_pictures.txt").read_text(), f"{self.folder / 'photos' / 'a.png'}\n")

    def test_what_is_there_is_kept(self) -> None:
        source = self.write("t.csv", self.TABLE)
        self.out.mkdir()
        (self.out / "thesis.tex").write_text("years of work")
        self.assertIn("holds other files", self.fails(source, "--out", self.out, "--overwrite"))
        self.assertEqual([path.name for path in self.out.iterdir()], ["thesis.tex"])

    def test_overwriting(self) -> None:
        source = self.write("t.csv", self.TABLE)
        self.succeeds(source, "--out", self.out)
        self.assertIn("--overwrite replaces it", self.fails(source, "--out", self.out))
        (self.out / "cache").mkdir()
        (self.out / "cache" / "regions").write_text("hours of work")
        self.write("t.csv", self.TABLE.replace("dev", "test"))
        self.succeeds(source, "--out", self.out, "--overwrite")
        self.assertFalse((self.out / "dev_caps.txt").exists())
        self.assertEqual((self.out / "cache" / "regions").read_text(), "hours of work")
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["out", "photos"])

    def test_failure_keeps_the_old_folder(self) -> None:
        source = self.write("t.csv", self.TABLE)
        self.succeeds(source, "--out", self.out)
        self.write("t.csv", self.TABLE + "c.png\n")
        self.fails(source, "--out", self.out, "--overwrite")
        self.assertEqual(self.split("dev"), {"b.png": ["Two."]})

    def test_folder_within_the_pictures(self) -> None:
        self.write("a.txt", "One.\n")
        inside = self.folder / "photos" / "prepared"
        for _ in range(2):
            said = self.succeeds(f"train={self.folder / 'photos'}", "--out", inside, "--overwrite")
        self.assertEqual((inside / "train_pictures.txt").read_text(), "../a.png\n")
        self.assertNotIn("without a picture", said)

    def test_names_of_all_kinds(self) -> None:
        names = ["ü \u202f#1.png", " x,y.png"]
        rows = []
        for number, name in enumerate(names):
            picture(self.folder / "photos" / name.strip(), 100 + number)
            rows.append(f'"{name.strip()}",caption {number}\n')
        self.reads("t.csv", "image,caption\n" + "".join(rows), {name.strip(): [f"caption {i}"] for i, name in enumerate(names)})


if __name__ == "__main__":
    unittest.main()
