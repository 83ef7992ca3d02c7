#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of the demo data's preparation. Exits 77 (skipped) where its packages are missing."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
SCRIPT = HERE / "prepare_emoji.py"
SPLITS = ("train", "dev", "test", "test_new")


def skip(reason: str) -> None:
    print(f"test_prepare.py: skipped: {reason}")
    sys.exit(77)


try:
    import numpy as np

    import fresh_folder
    from emoji_prep import PreparationError, captions, cldr, folder, pictures, splits
except ImportError as missing:
    if missing.name not in ("numpy", "PIL"):
        raise
    skip(f"no module {missing.name}: install the Debian packages python3-numpy and python3-pil")
try:
    pictures.load_font()
    ENGLISH = {one.text: one for one in cldr.read_emoji()}
except PreparationError as lacking:
    skip(str(lacking))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def hashes(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def emoji(name: str, text: str = "x", keywords: str = "") -> cldr.Emoji:
    return cldr.Emoji(text, name, [word for word in keywords.split("|") if word])


class Folder(unittest.TestCase):
    """What is true of the folder that the script writes."""

    scratch: tempfile.TemporaryDirectory[str]
    out: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = tempfile.TemporaryDirectory()
        cls.out = Path(cls.scratch.name) / "emoji"
        first = run(cls.out)
        assert first.returncode == 0, first.stderr
        cls.first = hashes(cls.out)
        cls.summary = first.stdout
        cls.ims = {name: np.load(cls.out / f"{name}_ims.npy") for name in SPLITS}
        cls.caps = {name: lines(cls.out / f"{name}_caps.txt") for name in SPLITS}
        cls.ids = {name: [int(line) for line in lines(cls.out / f"{name}_ids.txt")] for name in SPLITS}
        cls.names = {name: [line.split("\t") for line in lines(cls.out / f"{name}_names.txt")] for name in SPLITS}
        cls.bases = {name: [splits.base_of(ENGLISH[text]) for text, _ in cls.names[name]] for name in SPLITS}

    @classmethod
    def tearDownClass(cls) -> None:
        cls.scratch.cleanup()

    def test_second_run_gives_the_same_bytes_and_leaves_nothing_beside(self) -> None:
        self.assertEqual(run(self.out).returncode, 0)
        self.assertEqual(hashes(self.out), self.first)
        self.assertEqual([path.name for path in self.out.parent.iterdir()], ["emoji"])

    def test_counts(self) -> None:
        count = {name: len(ims) for name, ims in self.ims.items()}
        self.assertGreater(sum(count.values()), 3000)
        self.assertEqual((count["dev"], count["test"]), (300, 300))
        self.assertGreater(count["train"], 2000)
        self.assertGreater(count["test_new"], 100)

    def test_features(self) -> None:
        for name, ims in self.ims.items():
            with self.subTest(split=name):
                self.assertEqual(ims.shape[1:], (36, 61))
                self.assertEqual(ims.dtype, np.dtype("<f4"))
                self.assertTrue(ims.flags.c_contiguous)
                self.assertTrue(np.isfinite(ims).all())
                self.assertEqual(len(np.unique(ims.reshape(len(ims), -1), axis=0)), len(ims))

    def test_boxes_are_where_the_regions_are(self) -> None:
        boxes = np.load(self.out / "boxes.npy")
        self.assertEqual((boxes.shape, boxes.dtype), ((36, 4), np.dtype("<f4")))
        middle = np.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]], axis=1) - 1
        np.testing.assert_allclose(middle, pictures.region_positions()[:, :2], atol=1e-6)
        np.testing.assert_allclose(boxes[:, 2:] - boxes[:, :2], 1 / 6, atol=1e-6)

    def test_train_is_standardised(self) -> None:
        rows = self.ims["train"].reshape(-1, 61).astype(np.float64)
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(rows.std(0), 1, atol=1e-5)

    def test_statistics_prepare_a_picture_again(self) -> None:
        saved = json.loads((self.out / "stats.json").read_text(encoding="utf-8"))
        self.assertEqual([len(saved[key]) for key in ("channels", "mean", "std")], [61, 61, 61])
        with pictures.Image.open(self.out / "thumbs" / "test" / "0007.png") as image:
            self.assertEqual((image.size, image.mode), ((72, 72), "RGB"))
            again = pictures.standardise(pictures.describe(image), np.array(saved["mean"]), np.array(saved["std"]))
        np.testing.assert_array_equal(again, self.ims["test"][7])

    def test_every_image_has_one_to_five_captions_in_order(self) -> None:
        for name in SPLITS:
            with self.subTest(split=name):
                ids = self.ids[name]
                self.assertEqual(len(ids), len(self.caps[name]))
                self.assertEqual(ids, sorted(ids))
                self.assertEqual(set(ids), set(range(len(self.ims[name]))))
                self.assertLessEqual(max(map(ids.count, set(ids))), 5)

    def test_no_caption_occurs_twice_in_all_splits(self) -> None:
        every = [caption for name in SPLITS for caption in self.caps[name]]
        self.assertEqual(len(set(every)), len(every))

    def test_captions_are_plain(self) -> None:
        for name in SPLITS:
            for caption in self.caps[name]:
                self.assertTrue(caption)
                self.assertEqual(caption, captions.plain(caption))

    def test_names_and_thumbnails_belong_to_the_rows(self) -> None:
        for name in SPLITS:
            with self.subTest(split=name):
                self.assertEqual(len(self.names[name]), len(self.ims[name]))
                self.assertTrue(all(ENGLISH[text].name == title for text, title in self.names[name]))
                thumbs = sorted(path.name for path in (self.out / "thumbs" / name).iterdir())
                self.assertEqual(thumbs, [f"{row:04d}.png" for row in range(len(self.ims[name]))])

    def test_no_image_is_in_two_splits(self) -> None:
        every = [text for name in SPLITS for text, _ in self.names[name]]
        self.assertEqual(len(set(every)), len(every))

    def test_new_concepts_occur_nowhere_else(self) -> None:
        for name in ("train", "dev", "test"):
            self.assertFalse(set(self.bases["test_new"]) & set(self.bases[name]), name)

    def test_held_out_images_have_relatives_in_train(self) -> None:
        for name in ("dev", "test"):
            self.assertLessEqual(set(self.bases[name]), set(self.bases["train"]), name)

    def test_sources_name_packages_licences_and_counts(self) -> None:
        text = (self.out / "SOURCES.txt").read_text(encoding="utf-8")
        for word in ("fonts-noto-color-emoji", "unicode-cldr-core", "OFL-1.1", "Unicode-DFS-2016"):
            self.assertIn(word, text)
        self.assertIn(self.summary.partition("written to")[0], text)

    def test_another_seed_draws_other_splits_and_pictures_are_kept(self) -> None:
        other = self.out.parent / "other"
        self.assertEqual(run("--seed", "1", "--pictures", other).returncode, 0)
        self.assertNotEqual(lines(other / "test_names.txt"), lines(self.out / "test_names.txt"))
        for name in SPLITS:
            names = lines(other / f"{name}_pictures.txt")
            self.assertEqual(names, [f"pictures/{name}/{row:04d}.png" for row in range(len(names))])
            self.assertEqual(len(names), len(np.load(other / f"{name}_ims.npy", mmap_mode="r")))
        with pictures.Image.open(other / names[7]) as image, pictures.Image.open(other / "thumbs" / name / "0007.png") as thumb:
            self.assertEqual((image.size, image.mode), (pictures.CANVAS, "RGB"))
            small = image.resize(thumb.size, pictures.Image.Resampling.LANCZOS)
            self.assertEqual(small.tobytes(), thumb.tobytes())
        shutil.rmtree(other)


class Refusals(unittest.TestCase):
    """One line on stderr, exit 2, nothing written, nothing destroyed."""

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.place = Path(scratch.name)

    def refuse(self, *arguments: str | Path) -> str:
        result = run(*arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        return result.stderr

    def test_missing_font(self) -> None:
        message = self.refuse("--font", self.place / "none.ttf", self.place / "out")
        self.assertIn("none.ttf", message)
        self.assertIn("fonts-noto-color-emoji", message)
        self.assertEqual(list(self.place.iterdir()), [])

    def test_file_that_is_no_font(self) -> None:
        (self.place / "bad.ttf").write_bytes(b"not a font")
        self.assertIn("bad.ttf", self.refuse("--font", self.place / "bad.ttf", self.place / "out"))

    def test_missing_names(self) -> None:
        message = self.refuse("--cldr", self.place, self.place / "out")
        self.assertIn("annotations/en.xml", message)
        self.assertIn("unicode-cldr-core", message)

    def test_broken_names(self) -> None:
        (self.place / "annotations").mkdir()
        (self.place / "annotations" / "en.xml").write_text("<ldml><annot")
        self.assertIn("annotations/en.xml", self.refuse("--cldr", self.place, self.place / "out"))

    def test_folder_of_other_files_is_kept(self) -> None:
        (self.place / "thesis.tex").write_text("years of work")
        self.assertIn("other files", self.refuse(self.place))
        self.assertEqual([path.name for path in self.place.iterdir()], ["thesis.tex"])

    def test_file_in_the_way_is_kept(self) -> None:
        (self.place / "out").write_text("mine")
        self.refuse(self.place / "out")
        self.assertEqual((self.place / "out").read_text(), "mine")

    def test_failure_half_way_keeps_the_old_folder(self) -> None:
        out = self.place / "out"
        out.mkdir()
        (out / folder.SOURCES).write_text("old")
        with self.assertRaises(RuntimeError):
            with fresh_folder.replacing(out, folder.SOURCES) as fresh:
                (fresh / "half").write_text("")
                raise RuntimeError
        self.assertEqual((out / folder.SOURCES).read_text(), "old")
        self.assertEqual(list(self.place.iterdir()), [out])

    def replace_with_renames_that_fail(self, fails: Callable[[int], bool]) -> str | None:
        """What a replacement says where the n-th rename fails if fails(n); None where none does any more."""
        out, number, rename = self.place / "out", itertools.count(1), Path.rename
        shutil.rmtree(self.place)
        (out / "cache").mkdir(parents=True)
        for name in (folder.SOURCES, "cache/hours", "words"):
            (out / name).write_text("old")

        def failing(path: Path, to: Path) -> Path:
            if fails(next(number)):
                raise OSError(errno.EIO, "fails")
            return rename(path, to)

        try:
            with mock.patch.object(Path, "rename", failing), \
                    fresh_folder.replacing(out, folder.SOURCES, {folder.SOURCES}) as fresh:
                (fresh / folder.SOURCES).write_text("new")
        except (OSError, fresh_folder.FolderError) as error:
            return str(error)
        return None

    def test_a_rename_that_fails_keeps_the_old_folder(self) -> None:
        for n in itertools.count(1):
            said = self.replace_with_renames_that_fail(lambda number: number == n)
            files = {str(path.relative_to(self.place)): path.read_text() for path in self.place.rglob("*") if path.is_file()}
            state = "old" if said else "new"
            self.assertEqual(files, {"out/cache/hours": "old", "out/words": "old", f"out/{folder.SOURCES}": state}, n)
            if not said:
                break
        self.assertEqual(n, 5)

    def test_renames_that_fail_from_then_on_lose_nothing(self) -> None:
        for n in range(1, 5):
            said = self.replace_with_renames_that_fail(lambda number: number >= n)
            kept = {path.name: path for path in self.place.rglob("*") if path.is_file() and path.read_text() == "old"}
            self.assertEqual(set(kept), {folder.SOURCES, "hours", "words"}, n)
            elsewhere = [path for path in kept.values() if not path.is_relative_to(self.place / "out")]
            if elsewhere:
                former = self.place / elsewhere[0].relative_to(self.place).parts[0]
                self.assertIn(f"is in {former}", said)
                with self.assertRaisesRegex(fresh_folder.FolderError, "earlier run was ended"), \
                        fresh_folder.replacing(self.place / "out", folder.SOURCES):
                    pass


class Captions(unittest.TestCase):
    def test_plain(self) -> None:
        for text, expected in {
            "Mrs. Claus: medium-light skin tone": "mrs claus medium-light skin tone",
            "keycap: #": "keycap #",
            "keycap: *": "keycap *",
            "twelve o\u2019clock": "twelve oclock",
            "Japanese \u201chere\u201d button": "japanese here button",
            "A button (blood type)": "a button blood type",
            " - \u2013 ": "",
        }.items():
            self.assertEqual(captions.plain(text), expected)

    def test_kinds_in_order(self) -> None:
        judge = emoji("woman judge: dark skin tone", keywords="dark skin tone|judge|scales|woman")
        self.assertEqual(captions.candidates(judge)[:4], [
            "woman judge dark skin tone",
            "dark skin tone woman judge",
            "dark skin tone judge scales woman",
            "latin small letter x",
        ])

    def test_fewer_rather_than_repeats(self) -> None:
        groups, _ = captions.captions_of_all([emoji("star", "xy", "star")])
        self.assertEqual(groups, [["star"]])

    def test_text_of_two_images_goes_to_neither(self) -> None:
        groups, ambiguous = captions.captions_of_all([emoji("cow", "xy", "ox"), emoji("bull", "yz", "ox")])
        self.assertNotIn("ox", groups[0] + groups[1])
        self.assertEqual(ambiguous, 1)


class Bases(unittest.TestCase):
    def base(self, name: str) -> str:
        return splits.base_of(next(one for one in ENGLISH.values() if one.name == name))

    def test_tone_gender_hair_and_person_make_no_other_base(self) -> None:
        for names in (
            ("woman judge: dark skin tone", "man judge", "judge: light skin tone"),
            ("woman", "man: dark skin tone, bald", "person: red hair"),
            ("person swimming", "woman swimming: light skin tone"),
            ("family", "family: woman, woman, girl"),
            ("kiss", "kiss: man, man, dark skin tone"),
            ("woman and man holding hands", "men holding hands: light skin tone, dark skin tone"),
            ("handshake", "handshake: light skin tone, dark skin tone"),
        ):
            self.assertEqual(len({self.base(name) for name in names}), 1, names)

    def test_things_are_no_relatives_of_those_who_hold_them(self) -> None:
        self.assertNotEqual(self.base("woman judge"), self.base("balance scale"))

    def test_gender_signs_have_bases(self) -> None:
        self.assertNotEqual(self.base("female sign"), self.base("male sign"))


class Gradients(unittest.TestCase):
    def test_bins_are_eighths_of_a_turn(self) -> None:
        angle = np.radians(np.arange(0, 360, 5) + 1.0)  # none on a boundary
        expected = np.round(angle / (np.pi / 4)).astype(int) % 8
        np.testing.assert_array_equal(pictures.gradient_bins(np.cos(angle), np.sin(angle)), expected)

    def test_regions_are_read_row_by_row(self) -> None:
        image = pictures.Image.new("RGB", (72, 72), "white")
        image.paste((0, 0, 0), (12, 0, 24, 12))  # the second region
        pixels = pictures.region_pixels(image)
        self.assertEqual([row for row in range(36) if pixels[row].min() == 0], [1])
        self.assertEqual(pictures.describe(image).shape, (36, 61))


if __name__ == "__main__":
    unittest.main()
