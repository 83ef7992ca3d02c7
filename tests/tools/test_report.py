#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of `train --report`: the page as HTML, and, where there is Chromium, in a browser.

Needs $CT_TRAIN, the program. The test of the browser is skipped without Chromium.
"""

from __future__ import annotations

import html.parser
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

TRAIN = os.environ.get("CT_TRAIN", "build/train")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
EMPTY = {"meta", "link", "img", "br"}  # have no end
REGIONS, FEATURES = 4, 6

CONFIG = """[data]
folder = {data}
min_count = 1
[run]
folder = {run}
seed = 3
threads = 1
[train]
epochs = 2
batch = 8
lr = 0.01
log_every = 1
[image]
fc = linear width=12
gcn = gcn x 2
attend = policy_attention heads=2 actions=10
pool = mean + gru
bn = batchnorm
[text]
embed = words width=8
pool = gru width=12
bn = batchnorm
[loss]
retrieval = hinge margin=0.2 negatives=hardest sum_epochs=1
discrete_policy = 1
continuous_policy = 1
"""


def npy(path: Path, images: int, chance: random.Random) -> None:
    """Features in which colour and shape of an image can be read."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({images}, {REGIONS}, {FEATURES}), }}"
    header = header.ljust(117) + "\n"
    values = [chance.gauss(0, 0.1) + (k in (i % 3, 3 + i // 3 % 3))
              for i in range(images) for _ in range(REGIONS) for k in range(FEATURES)]
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}f", *values))


def write_split(folder: Path, name: str, images: int) -> None:
    npy(folder / f"{name}_ims.npy", images, random.Random(name))
    colours, shapes = ("red", "green", "blue"), ("square", "circle", "star")
    lines = [line for i in range(images)
             for line in (f"a {colours[i % 3]} {shapes[i // 3 % 3]}", f"{shapes[i // 3 % 3]} {colours[i % 3]}")]
    (folder / f"{name}_caps.txt").write_text("\n".join(lines) + "\n")


class Page(html.parser.HTMLParser):
    """What is in a page; an end that is none of what is open is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text: dict[str, str] = {}
        self.cells: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if "id" in dict(attrs):
            self.ids.append(str(dict(attrs)["id"]))
        if tag in ("td", "th"):
            self.cells.append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> in {self.open} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        inner = self.open[-1] if self.open else ""
        self.text[inner] = self.text.get(inner, "") + data
        if self.cells and ("td" in self.open or "th" in self.open):
            self.cells[-1] += data


class Report(unittest.TestCase):
    folder: Path
    run_folder: Path

    @classmethod
    def setUpClass(cls) -> None:
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)
        (cls.folder / "data").mkdir()
        for name, images in (("train", 24), ("dev", 9), ("test", 9)):
            write_split(cls.folder / "data", name, images)
        cls.run_folder = cls.folder / "run"
        config = cls.folder / "my.ini"
        config.write_text(CONFIG.format(data=cls.folder / "data", run=cls.run_folder))
        done = cls.train(config)
        assert done.returncode == 0, done.stderr

    @staticmethod
    def train(*arguments: str | Path | bytes) -> subprocess.CompletedProcess[str]:
        return subprocess.run([TRAIN, *arguments], capture_output=True, text=True, errors="replace")

    def copy(self, name: str | bytes) -> Path:
        """The run under another name."""
        to = self.folder / os.fsdecode(name)
        shutil.copytree(self.run_folder, to, ignore=shutil.ignore_patterns("report.html"))
        self.addCleanup(shutil.rmtree, to)
        return to

    def report(self, run: Path) -> str:
        done = self.train(os.fsencode(run), "--report")
        self.assertEqual(done.returncode, 0, done.stderr)
        page = run / "report.html"
        self.assertEqual(done.stderr, "")
        return page.read_text(encoding="utf-8")  # an error where it is no UTF-8

    def test_says_what_the_run_left(self) -> None:
        page = Page(self.report(self.run_folder))
        for part in ("recalls", "curves", "model", "configuration", "machine"):
            self.assertIn(part, page.ids)
        results = json.loads((self.run_folder / "results.json").read_text())
        for split in ("test", "dev"):
            row = page.cells.index(split)
            expected = [str(results[split]["images"]), str(results[split]["captions"])]
            for way in ("i2t", "t2i"):
                expected += [f"{results[split][way][key]:.{0 if key == 'medr' else 1}f}"
                             for key in ("r1", "r5", "r10", "medr", "meanr")]
            self.assertEqual(page.cells[row + 1:row + 14], [*expected, f"{results[split]['rsum']:.1f}"])
        self.assertEqual((results["test"]["images"], results["test"]["captions"]), (9, 18))
        self.assertIn("gcn x 2", page.text["code"])
        self.assertIn("Retrieval loss", page.text["h3"])
        self.assertIn(results["versions"]["machine"], page.text["dd"])

    def test_holds_all_that_it_shows(self) -> None:
        page = Page(self.report(self.run_folder))
        for tag, attributes in page.tags:
            self.assertNotIn(tag, ("script", "iframe", "object"))
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on"), f"{tag} {name}")
                if name in ("src", "href"):
                    self.assertRegex(str(value), "^(#|data:)")
        self.assertNotIn("@import", page.text["style"])
        self.assertNotIn("url(", page.text["style"])
        for link in (attributes["href"] for tag, attributes in page.tags if tag == "a"):
            self.assertIn(str(link)[1:], page.ids)

    def test_same_bytes(self) -> None:
        self.assertEqual(self.report(self.run_folder), self.report(self.run_folder))

    def test_other_place(self) -> None:
        out = self.folder / "other.html"
        done = self.train(self.run_folder, "--report", "--out", out)
        self.assertEqual((done.returncode, done.stdout), (0, f"{out}\n"))
        self.assertEqual(out.read_text(), self.report(self.run_folder))
        wrong = self.folder / "nowhere" / "page.html"
        done = self.train(self.run_folder, "--report", "--out", wrong)
        self.assertEqual(done.returncode, 2)
        self.assertIn(str(wrong), done.stderr)

    def test_curves_follow_the_log(self) -> None:
        run = self.copy("flat")
        lines = [{"step": step, "epoch": 0, "loss": 5.0 - step / 100} for step in range(1, 401)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 9')
        page = Page(self.report(run))
        curve, = [a["d"] for tag, a in page.tags if tag == "path" and "curve" in str(a.get("class"))]
        points = [tuple(map(float, point.split())) for point in str(curve)[1:].split("L")]
        self.assertEqual(len(points), 400)
        self.assertLess(points[0][1], points[-1][1])  # downwards is down
        left, right = points[0][0], points[-1][0]
        for number, (x, _) in enumerate(points):
            self.assertAlmostEqual(x, left + (right - left) * number / 399, delta=0.11)

    def test_escapes_everything(self) -> None:
        run = self.copy(b"<script>alert(1)<|script>&\"'")
        line = {"step": 1, "<script>alert(2)</script>": 1, "\"'&\u0001": 2}
        with (run / "metrics.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        results = json.loads((run / "results.json").read_text())
        results["versions"]["compiler"] = "<script>alert(3)</script>"
        results["</td><script>"] = results["test"]
        (run / "results.json").write_text(json.dumps(results))
        config = (run / "config.ini").read_text()
        (run / "config.ini").write_text(config.replace("test_splits = test", "test_splits = <script>&\"'"))
        text = self.report(run)
        page = Page(text)
        self.assertNotIn("script", {tag for tag, _ in page.tags})
        self.assertIn("<script>alert(1)<|script>&\"'", page.text["h1"])
        self.assertIn("<script>alert(2)</script>", page.text["h3"])
        self.assertIn("\"'&\ufffd", page.text["h3"])
        self.assertIn("<script>alert(3)</script>", page.text["dd"])
        self.assertIn("<script>&\"'", page.text["dd"])
        self.assertIn("</td><script>", page.cells)

    def test_run_at_work(self) -> None:
        run = self.copy("atwork")
        for name in ("results.json", "best.safetensors"):
            (run / name).unlink()
        page = Page(self.report(run))
        self.assertIn("not there yet", page.text["p"])
        (run / "metrics.jsonl").write_text("")
        page = Page(self.report(run))
        self.assertIn("not validated yet", page.text["p"])

    def test_wrong_runs(self) -> None:
        run = self.copy("wrong")
        kept = (run / "metrics.jsonl").read_bytes()
        for name, content, says in (("metrics.jsonl", b"{}\nnonsense\n", "metrics.jsonl:2"),
                                    ("metrics.jsonl", b"[1]\n", "metrics.jsonl:1"),
                                    ("results.json", b"[]", "results.json"),
                                    ("results.json", b'{"a": ', "results.json")):
            (run / name).write_bytes(content)
            done = self.train(run, "--report")
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
            self.assertIn(says, done.stderr)
            self.assertFalse((run / "report.html").exists())
            (run / "metrics.jsonl").write_bytes(kept)
        done = self.train(self.folder / "data", "--report")
        self.assertEqual(done.returncode, 2)

    @unittest.skipUnless(BROWSER, "no chromium")
    def test_in_a_browser(self) -> None:
        self.report(self.run_folder)
        profile = self.folder / "profile"
        picture = self.folder / "page.png"
        done = subprocess.run(
            [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--enable-logging=stderr", "--window-size=1200,900", f"--screenshot={picture}",
             (self.run_folder / "report.html").as_uri()],
            capture_output=True, text=True, timeout=250)
        self.assertEqual([line for line in done.stderr.splitlines() if "CONSOLE" in line], [])
        self.assertGreater(picture.stat().st_size, 10_000, done.stderr)


if __name__ == "__main__":
    unittest.main()
