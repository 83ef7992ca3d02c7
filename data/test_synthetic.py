#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of make_synthetic.py. Exits 77 (skipped) without NumPy."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "make_synthetic.py"

try:
    import numpy as np
except ImportError:
    print(f"test_synthetic.py: skipped: {sys.executable} has no module numpy: install python3-numpy")
    sys.exit(77)

SPECIALS = ["<pad>", "<start>", "<end>", "<unk>"]
SPLITS = ("train", "dev", "test")


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def make(*arguments: str | Path) -> None:
    done = run(*arguments)
    if done.returncode != 0:
        raise AssertionError(done.stderr)


def captions_of(folder: Path, split: str) -> list[list[str]]:
    """Tokens of each caption: lower case, the full stop parted from the last word."""
    lines = (folder / f"{split}_caps.txt").read_text(encoding="utf-8").splitlines()
    return [line.lower().removesuffix(".").split() + ["."] for line in lines]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


class FullSize(unittest.TestCase):
    """Both data sets at the sizes that are published."""

    scratch: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.scratch.cleanup)
        cls.root = Path(cls.scratch.name)
        for name in ("flickr30k", "coco"):
            make("--like", name, "--fill", "2", cls.root / name)

    def check(self, name: str, images: tuple[int, int, int], words: int) -> None:
        folder = self.root / name
        for split, number in zip(SPLITS, images):
            features = np.load(folder / f"{split}_ims.npy", mmap_mode="r")
            self.assertEqual((features.shape, features.dtype), ((number, 36, 2048), np.dtype("<f4")))
            self.assertTrue((features[0] >= 0).all() and features[number // 2].any())
            lines = (folder / f"{split}_caps.txt").read_text(encoding="utf-8").splitlines()
            self.assertEqual(len(lines), 5 * number)
        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        self.assertEqual(vocabulary["idx"], words)
        self.assertEqual(len(vocabulary["word2idx"]), words)
        self.assertEqual([vocabulary["word2idx"][special] for special in SPECIALS], [0, 1, 2, 3])
        self.assertEqual(vocabulary["idx2word"], {str(at): word for word, at in vocabulary["word2idx"].items()})

    def test_flickr30k(self) -> None:
        self.check("flickr30k", (29000, 1014, 1000), 8481)

    def test_coco(self) -> None:
        self.check("coco", (113287, 5000, 5000), 11755)

    def test_sizes_of_the_bundled_data(self) -> None:
        folder = self.root / "emoji"
        make("--like", "emoji", "--fill", "2", folder)
        features = np.load(folder / "train_ims.npy", mmap_mode="r")
        self.assertEqual(features.shape, (2461, 36, 61))
        lengths = [len(caption) - 1 for caption in captions_of(folder, "train")]
        self.assertEqual(len(lengths), 5 * 2461)
        self.assertAlmostEqual(sum(lengths) / len(lengths), 5.0, delta=0.1)

    def test_regions_and_words_can_be_others(self) -> None:
        folder = self.root / "others"
        make("--like", "flickr30k", "--images", "20", "--regions", "3", "--mean-words", "30", folder)
        self.assertEqual(np.load(folder / "dev_ims.npy", mmap_mode="r").shape, (20, 3, 2048))
        lengths = [len(caption) - 1 for caption in captions_of(folder, "train")]
        self.assertAlmostEqual(sum(lengths) / len(lengths), 30, delta=4)

    def test_the_files_take_little_space(self) -> None:
        path = self.root / "coco" / "train_ims.npy"
        self.assertGreater(path.stat().st_size, 33e9)
        if path.stat().st_blocks * 512 > 33e9:
            self.skipTest("this file system does not keep holes")
        self.assertLess(path.stat().st_blocks * 512, 4e6)

    def test_vocabulary_is_the_one_built_from_train(self) -> None:
        """Words with at least 4 occurrences, most frequent first, then by bytes; dev adds none."""
        for name in ("flickr30k", "coco"):
            folder = self.root / name
            counts = Counter(token for caption in captions_of(folder, "train") for token in caption)
            built = [word for word in counts if counts[word] >= 4]
            built.sort(key=lambda word: (-counts[word], word.encode()))
            vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
            self.assertEqual(list(vocabulary["word2idx"]), SPECIALS + built)
            counts.update(token for caption in captions_of(folder, "dev") for token in caption)
            self.assertEqual(sum(count >= 4 for count in counts.values()), len(built))

    def test_captions_look_like_captions(self) -> None:
        captions = captions_of(self.root / "flickr30k", "train")
        lengths = [len(caption) - 1 for caption in captions]
        self.assertAlmostEqual(sum(lengths) / len(lengths), 12.0, delta=0.1)
        self.assertGreaterEqual(min(lengths), 3)
        self.assertLessEqual(max(lengths), 80)
        known = json.loads((self.root / "flickr30k" / "vocabulary.json").read_text())["word2idx"]
        tokens = [token for caption in captions for token in caption]
        self.assertAlmostEqual(sum(token not in known for token in tokens) / len(tokens), 0.01, delta=0.002)

    def test_words_follow_zipf(self) -> None:
        """Rank times count changes little over two decades of ranks."""
        tokens = Counter(token for caption in captions_of(self.root / "flickr30k", "train") for token in caption[:-1])
        ranked = [count for _, count in tokens.most_common()]
        self.assertAlmostEqual((1000 + 1.7) * ranked[999] / ((10 + 1.7) * ranked[9]), 1.0, delta=0.2)


class Options(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.out = Path(scratch.name) / "data"
        self.other = Path(scratch.name) / "other"

    def test_same_options_same_bytes(self) -> None:
        options = ("--like", "flickr30k", "--images", "20", "--fill", "3", "--glove", "50", "6")
        make(*options, self.out)
        make(*options, self.other)
        self.assertEqual(hashes(self.out), hashes(self.other))
        another = self.out.with_name("another")
        make(*options, "--seed", "1", another)
        changed, same = hashes(another), hashes(self.out)
        for name in same:
            self.assertNotEqual(changed[name], same[name], name)

    def test_images_and_fill(self) -> None:
        make("--like", "coco", "--images", "10", "--fill", "4", self.out)
        for split in SPLITS:
            features = np.load(self.out / f"{split}_ims.npy")
            self.assertEqual(features.shape, (10, 36, 2048))
            self.assertEqual(np.flatnonzero(features.any(axis=(1, 2))).tolist(), [0, 2, 5, 7])
            self.assertEqual(len(captions_of(self.out, split)), 50)
        self.assertEqual(json.loads((self.out / "vocabulary.json").read_text())["idx"], 11755)

    def test_as_published(self) -> None:
        make("--like", "coco", "--images", "6", "--fill", "2", "--as-published", self.out)
        for split, rows in {"train": 6, "dev": 30, "test": 30, "testall": 30}.items():
            features = np.load(self.out / f"{split}_ims.npy", mmap_mode="r")
            names = (self.out / f"{split}_ids.txt").read_text(encoding="utf-8").split()
            self.assertEqual(features.shape, (rows, 36, 2048))
            self.assertEqual(len(names), rows)
            self.assertEqual(len(set(names)), 6)
            self.assertEqual(len(captions_of(self.out, split)), 30)
            for row in range(rows):
                first = row - row % (rows // 6)
                self.assertEqual(names[row], names[first])
                np.testing.assert_array_equal(features[row], features[first])
            self.assertEqual(sum(bool(image.any()) for image in features[::rows // 6]), 2)

    def test_no_and_all_features(self) -> None:
        make("--like", "coco", "--images", "3", "--fill", "0", self.out)
        self.assertFalse(np.load(self.out / "dev_ims.npy").any())
        make("--like", "coco", "--images", "3", self.other)
        self.assertTrue(np.load(self.other / "dev_ims.npy").any(axis=(1, 2)).all())

    def test_glove(self) -> None:
        make("--like", "flickr30k", "--images", "3", "--fill", "0", "--glove", "20000", "7", self.out)
        lines = (self.out / "glove.txt").read_text(encoding="utf-8").splitlines()
        words = [line.rsplit(" ", 7)[0] for line in lines]
        numbers = np.array([line.rsplit(" ", 7)[1:] for line in lines], np.float64)
        self.assertEqual((len(set(words)), numbers.shape), (20000, (20000, 7)))
        self.assertLess(np.abs(numbers).max(), 1)
        self.assertLess(abs(numbers.mean()), 0.01)
        self.assertIn(". . .", words)
        vocabulary = json.loads((self.out / "vocabulary.json").read_text())["word2idx"]
        self.assertAlmostEqual(len(set(words) & set(vocabulary)) / len(vocabulary), 31 / 32, delta=0.001)
        # The table of numbers is finite: rows must differ all the same.
        self.assertEqual(len(np.unique(numbers, axis=0)), 20000)

    def test_short_glove(self) -> None:
        make("--like", "flickr30k", "--images", "3", "--fill", "0", "--glove", "1", "1", self.out)
        self.assertEqual(len((self.out / "glove.txt").read_text().splitlines()), 1)

    def test_a_full_folder_is_left_alone(self) -> None:
        self.out.mkdir()
        (self.out / "mine.txt").write_text("mine")
        done = run("--like", "coco", self.out)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1))
        self.assertIn("not an empty folder", done.stderr)
        self.assertEqual([path.name for path in self.out.iterdir()], ["mine.txt"])
        done = run("--like", "coco", self.out / "mine.txt")
        self.assertEqual(done.returncode, 2)

    def test_wrong_options(self) -> None:
        for options in (("--like", "imagenet"), (), ("--like", "coco", "--images", "0"),
                        ("--like", "coco", "--glove", "10"), ("--like", "coco", "--fill", "-1"),
                        ("--like", "emoji", "--as-published")):
            self.assertEqual(run(*options, self.out).returncode, 2, options)
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    unittest.main()
