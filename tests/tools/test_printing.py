#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scripts whose printing nobody reads: no traceback, no work lost. Exits 77 (skipped) without numpy."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

try:
    import numpy as np
except ImportError as missing:
    print(f"test_printing.py: skipped: {sys.executable} has no module {missing.name}")
    sys.exit(77)


class Vocabulary:
    def __init__(self) -> None:
        words = ["<pad>", "<start>", "<end>", "<unk>", "a"]
        self.word2idx = {word: number for number, word in enumerate(words)}
        self.idx2word = dict(enumerate(words))
        self.idx = len(words)


def scripts() -> list[Path]:
    """Every Python program that is not a test."""
    paths = [path for folder in ("data", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*")
             if path.is_file() and path.suffix in ("", ".py") and not path.name.startswith("test_")]
    return [path for path in paths if re.match(rb"#!.*python", path.read_bytes()[:64])]


class Unread(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def run_unread(self, sink: str, script: str, *arguments: str | Path) -> tuple[int, str]:
        """Exit status and stderr with stdout a pipe that nobody reads, or /dev/full."""
        if sink == "full":
            out = os.open("/dev/full", os.O_WRONLY)
        else:
            unread, out = os.pipe()
            os.close(unread)
        try:
            done = subprocess.run([sys.executable, ROOT / script, *arguments], stdout=out, stderr=subprocess.PIPE,
                                  text=True)
        finally:
            os.close(out)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn("Exception ignored", done.stderr)
        return done.returncode, done.stderr

    def test_every_script_says_what_its_printing_is(self) -> None:
        found = scripts()
        self.assertGreater(len(found), 10)
        for path in found:
            if path.name in ("gpu_step.py", "layers.py"):  # another program reads every line and ends it
                continue
            text = path.read_text(encoding="utf-8")
            self.assertRegex(text, r"printing\.is_(beside_the_work|the_result)\b", path)

    def result(self, script: str, *arguments: str | Path) -> None:
        status, said = self.run_unread("pipe", script, *arguments)
        self.assertEqual((status, said), (-13, ""))  # by SIGPIPE
        status, said = self.run_unread("full", script, *arguments)
        name = Path(script).name
        self.assertEqual((status, said), (2, f"{name}: standard output: No space left on device\n"))

    def work(self, made: str, script: str, *arguments: str | Path) -> None:
        path, kept = self.folder / made, self.folder / "kept"
        subprocess.run([sys.executable, ROOT / script, *arguments], check=True, capture_output=True)
        path.replace(kept)
        if path.parent != self.folder:
            shutil.rmtree(path.parent)
        for sink, why in (("pipe", "Broken pipe"), ("full", "No space left on device")):
            status, said = self.run_unread(sink, script, *arguments)
            self.assertEqual(status, 0, said)
            name = Path(script).name
            self.assertEqual(said, f"{name}: nothing more can be printed ({why}): the work goes on\n")
            self.assertEqual(path.read_bytes(), kept.read_bytes())
            shutil.rmtree(path.parent) if path.parent != self.folder else path.unlink()

    def test_what_is_printed_is_the_result(self) -> None:
        header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        for name in ("a", "b"):
            (self.folder / name).write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")
        self.result("scripts/compare-steps", self.folder / "a", self.folder / "b")
        self.result("scripts/study", "table")
        self.result("scripts/study", "commands")
        for split, images in (("train", 3), ("test", 2), ("test_new", 2)):
            np.save(self.folder / f"{split}_ims.npy", np.eye(images, 4, dtype="f4").reshape(images, 1, 4))
            (self.folder / f"{split}_caps.txt").write_text("a\n" * images)
            (self.folder / f"{split}_ids.txt").write_text("".join(f"{i}\n" for i in range(images)))
        self.result("data/nearest_neighbour.py", self.folder)

    def test_what_is_printed_is_beside_the_work(self) -> None:
        with open(self.folder / "v.pkl", "wb") as file:
            pickle.dump(Vocabulary(), file)
        self.work("v.json", "data/convert_vocabulary.py", self.folder / "v.pkl", self.folder / "v.json")
        self.work("made/train_caps.txt", "data/make_synthetic.py", "--like", "flickr30k", "--images", "20",
                  self.folder / "made")


if __name__ == "__main__":
    unittest.main()
