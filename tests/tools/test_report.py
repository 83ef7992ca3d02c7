#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of `train --report`: the page as HTML, and, where there is Chromium, in a browser.

Needs $CT_TRAIN, the program. The test of the browser is skipped without Chromium.
"""

from __future__ import annotations

import ast
import base64
import html.parser
import json
import math
import os
import re
import shutil
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

from browser import BROWSER, Browser
from tiny_run import WILD, configuration, write_data

TRAIN = os.environ.get("CT_TRAIN", "build/train")
EMPTY = {"meta", "link", "img", "br", "wbr"}  # have no end


def read_npy(path: Path) -> list[list[float]]:
    """Rows of f32."""
    data = path.read_bytes()
    length, = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10:10 + length].decode())
    rows, width = header["shape"]
    values = struct.unpack(f"<{rows * width}f", data[10 + length:])
    return [list(values[i * width:(i + 1) * width]) for i in range(rows)]


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
        write_data(cls.folder / "data")
        cls.run_folder = cls.folder / "run"
        config = cls.folder / "my.ini"
        config.write_text(configuration(cls.folder / "data", cls.run_folder))
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

    def embeddings(self) -> tuple[list[list[float]], list[list[float]]]:
        """Of the images and captions of test."""
        to = self.folder / "embeddings"
        done = self.train(self.run_folder, "--embed", "test", "--out", to)
        self.assertEqual(done.returncode, 0, done.stderr)
        return read_npy(to / "img_embs.npy"), read_npy(to / "cap_embs.npy")

    def report(self, run: Path) -> str:
        done = self.train(os.fsencode(run), "--report")
        self.assertEqual(done.returncode, 0, done.stderr)
        page = run / "report.html"
        self.assertEqual(done.stderr, "")
        return page.read_text(encoding="utf-8")  # an error where it is no UTF-8

    def test_says_what_the_run_left(self) -> None:
        page = Page(self.report(self.run_folder))
        for part in ("recalls", "curves", "model", "queries", "confusions", "attention", "configuration", "machine"):
            self.assertIn(part, page.ids)
            self.assertIn({"href": f"#{part}"}, [attributes for tag, attributes in page.tags if tag == "a"])
        results = json.loads((self.run_folder / "results.json").read_text())
        for split in ("test", "dev"):
            row = page.cells.index(split)
            expected = [str(results[split]["images"]), str(results[split]["captions"])]
            for way in ("i2t", "t2i"):
                expected += [f"{results[split][way][key]:.{0 if key == 'medr' else 1}f}"
                             for key in ("r1", "r5", "r10", "medr", "meanr")]
            shown = [cell.split()[0] for cell in page.cells[row + 1:row + 14]]  # without an interval
            self.assertEqual(shown, [*expected, f"{results[split]['rsum']:.1f}"])
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

    def test_a_pointer_is_told_values(self) -> None:
        run = self.copy("told")
        recall = {"r1": 60.25, "r5": 97.0, "r10": 100.0}
        lines = [{"step": step, "epoch": 0, "loss": 5.0 - step / 100} for step in range(1, 401)]
        lines[199]["dev"] = {"i2t": recall, "t2i": recall, "rsum": 514.5}
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        text = self.report(run)
        loss = text[text.index("<h3>Loss"):]
        columns = re.findall(r'<rect class="reading" x="([0-9.]+)" y="8" width="([0-9.]+)" height="178"><title>step (\d+): ([0-9.]+)</title>',
                             loss[:loss.index("</figure>")])
        self.assertEqual((len(columns), columns[0][2], columns[-1][2]), (50, "1", "400"))
        end = 52.0  # each begins where the one before ends, from one end of the axis to the other
        for x, width, step, value in columns:
            self.assertAlmostEqual(float(x), end, delta=0.11)
            self.assertAlmostEqual(float(value), 5 - int(step) / 100, delta=0.0006)
            end = float(x) + float(width)
        self.assertAlmostEqual(end, 388, delta=0.11)
        self.assertIn("<title>step 200\nR@1 60.2\nR@5 97.0\nR@10 100.0</title>", text)
        self.assertEqual(re.findall(r"R@\d+ <b>([0-9.]+)</b>", text)[:3], ["60.2", "97.0", "100.0"])

    def test_numbers_at_the_ends_are_drawn(self) -> None:
        run = self.copy("ends")
        curves = {"loss": (1, 1.5e308), "lr": (-1.7e308, 1.7e308), "reward": (1.7e308, 1.7e308), "own": (5e-324, 5e-324),
                  "grad_norm": (5e-324, 1e308), "decoder": (0, 5e-324), "retrieval": (1, 1 + 2**-52), "tiny": (5e-324, 1e-310)}
        lines = [{"step": step} | {name: values[i] for name, values in curves.items()}
                 for i, step in enumerate((1e308, 1.79e308))]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        page = Page(self.report(run))
        drawn = [str(value) for tag, a in page.tags if tag in ("path", "text", "circle")
                 for name, value in a.items() if name in ("d", "x", "y", "cx", "cy")]
        self.assertGreater(len(drawn), 5 * len(curves))
        for value in drawn:
            self.assertNotRegex(value, "inf|nan|[0-9]{5}")

    def test_results_at_the_ends(self) -> None:
        run = self.copy("large")
        results = json.loads((run / "results.json").read_text())
        results |= {"parameters": 1e300, "steps": -1e300, "train_seconds": 2e300}
        (run / "results.json").write_text(json.dumps(results))
        page = self.report(run)
        for fact in ("1e+300", "-1e+300", "2e+300 s"):
            self.assertIn(f"<b>{fact}</b>", page)

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

    def test_a_run_that_has_gone_on(self) -> None:
        run = self.copy("further")
        self.assertNotIn("gone on since", self.report(run))
        steps = json.loads((run / "results.json").read_text())["steps"]
        with (run / "metrics.jsonl").open("a") as log:
            log.write(json.dumps({"step": 1000 + steps, "loss": 1.0}) + "\n")
        self.assertIn(f"these recalls are of its first {steps} steps, and it has taken {1000 + steps:,}.", self.report(run))

    def test_queries_find_what_embeddings_say(self) -> None:
        images, captions = self.embeddings()
        text = self.report(self.run_folder)
        queries = text[text.index('id="queries"'):text.index('id="confusions"')].split("<article")[1:]
        self.assertEqual(len(queries), 12)
        for number, query in enumerate(queries):
            k = number % 6
            asked, answers = (captions, images) if number < 6 else (images, captions)
            row = (2 * k + 1) * len(asked) // 12
            scores = [sum(a * b for a, b in zip(asked[row], answer)) for answer in answers]
            expected = sorted(scores, reverse=True)[:5]
            shown = re.findall(r'<b class="(right|wrong)">\S+ (-?[0-9.]+)</b>', query)
            self.assertEqual(len(shown), 5)
            for (_, score), right in zip(shown, expected):
                self.assertAlmostEqual(float(score), right, delta=0.00051)
            own = [row // 2] if number < 6 else [2 * row, 2 * row + 1]
            best = max(scores[i] for i in own)
            place = 1 + sum(score >= best for i, score in enumerate(scores) if i not in own)
            said = re.search(r"(first|at place (\d+))</p>", query)
            assert said
            self.assertEqual(1 if said[1] == "first" else int(said[2]), place)

    def test_confusions_are_the_widest(self) -> None:
        images, captions = self.embeddings()
        margins = []
        for row, caption in enumerate(captions):
            scores = [sum(a * b for a, b in zip(caption, image)) for image in images]
            margins.append(max(scores) - scores[row // 2])
        text = self.report(self.run_folder)
        part = text[text.index('id="confusions"'):text.index('id="attention"')]
        shown = re.findall(r'"wrong">\S+ (-?[0-9.]+)</b>.*?"right">\S+ (-?[0-9.]+)</b>', part.split("Images whose")[0], re.S)
        self.assertGreater(max(margins), 0.001)  # some are confused, and by more than is shown of a score
        self.assertAlmostEqual(float(shown[0][0]) - float(shown[0][1]), max(margins), delta=0.002)
        differences = [float(wrong) - float(right) for wrong, right in shown]
        self.assertTrue(all(a >= b - 0.002 for a, b in zip(differences, differences[1:])), differences)

    def test_attention_is_that_of_actions(self) -> None:
        text = self.report(self.run_folder)
        part = text[text.index('id="attention"'):text.index('id="configuration"')]
        weights = [(int(region), float(value)) for region, value in
                   re.findall(r"<title>region (\d+): ([0-9.]+)</title>", part)]
        self.assertEqual([region for region, _ in weights], [1, 2, 3, 4] * 8)  # 4 images, 2 heads
        actions = [20 / (1 + math.exp(-k / 10)) for k in range(10)]
        for _, value in weights:
            self.assertLess(min(abs(value - action) for action in actions), 0.001 * value)
        corners = re.findall(r'class="heat" x="([0-9.]+)" y="([0-9.]+)" width="([0-9.]+)" height="([0-9.]+)"', part)
        self.assertEqual(corners[:4], [("0.0", "0.0", "4.0", "4.0"), ("4.0", "0.0", "4.0", "4.0"),
                                       ("0.0", "4.0", "4.0", "4.0"), ("4.0", "4.0", "4.0", "4.0")])

    def test_a_network_for_pictures(self) -> None:
        folder = self.folder / "seen"
        config = self.folder / "seen.ini"
        config.write_text(configuration(self.folder / "data", folder, pictures=True))
        done = self.train(config)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = self.report(folder)  # boxes.npy is of the features
        Page(text)
        part = text[text.index('id="attention"'):text.index('id="configuration"')]
        figures = [figure for figure in part.split("<figure>")[1:] if "region 1:" in figure]
        self.assertEqual(len(figures), 4 * (2 + 1))  # 4 images, heads of self and attend
        for figure in figures:
            corners = re.findall(r'class="heat" x="([0-9.]+)" y="([0-9.]+)" width="8.0" height="8.0"', figure)
            self.assertEqual(corners, [(f"{8 * x}.0", f"{8 * y}.0") for y in range(4) for x in range(4)])
        words = re.findall(r'<figure class="steps"><ol>(.*?)</ol><figcaption>text.self', part, re.S)
        self.assertEqual(len(words), 4)
        for sentence in words:
            self.assertTrue(sentence.rstrip().endswith("<b>&lt;end&gt;</b></li>"), sentence)
            for head in (1, 2):
                total = sum(map(float, re.findall(rf'title="head {head}: ([0-9.e-]+)"', sentence)))
                self.assertAlmostEqual(total, 1, delta=0.002)

    def test_pictures_are_within(self) -> None:
        page = Page(self.report(self.run_folder))
        pictures = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
        self.assertGreater(len(pictures), 36)
        for uri in pictures:
            head, data = uri.split(",")
            self.assertEqual(head, "data:image/jpeg;base64")
            data = base64.b64decode(data, validate=True)
            self.assertEqual((data[:3], data[-2:]), (b"\xff\xd8\xff", b"\xff\xd9"))

    def test_captions_are_escaped(self) -> None:
        page = Page(self.report(self.run_folder))
        self.assertIn(WILD, page.text["span"] + page.text["h3"])

    def test_data_that_are_not_there(self) -> None:
        for name, content, says in (("test_caps.txt", b"a r\xffd square\n" * 18, "UTF-8"),
                                    ("test_ims.npy", None, "test_ims.npy"),
                                    ("boxes.npy", b"nonsense", "boxes.npy"), ("boxes.npy", b"\0\0\xc0\x7f", "boxes.npy: not all")):
            path = self.folder / "data" / name
            kept = path.read_bytes()
            if content and len(content) == 4:  # the last number, as f32
                content = kept[:-4] + content
            path.unlink() if content is None else path.write_bytes(content)
            try:
                if name == "boxes.npy":
                    done = self.train(self.run_folder, "--report")
                    self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
                    self.assertIn(says, done.stderr)
                else:
                    self.assertIn(says, Page(self.report(self.run_folder)).text["p"])
            finally:
                path.write_bytes(kept)

    def test_intervals_are_those_of_the_evaluation(self) -> None:
        out, ends = self.folder / "intervals.json", []
        for split in ("test", "dev"):
            done = self.train(self.run_folder, "--evaluate", split, "--bootstrap", "10000", "--out", out)
            self.assertEqual(done.returncode, 0, done.stderr)
            expected = json.loads(out.read_text())["intervals"]
            ends += [expected[way][key] for way in ("i2t", "t2i") for key in ("r1", "r5", "r10")] + [expected["rsum"]]
        cells = Page(self.report(self.run_folder)).cells
        shown = [cell.split()[1] for cell in cells if re.fullmatch("[0-9.]+ [0-9.]+\u2013[0-9.]+", cell)]
        self.assertEqual(shown, [f"{low:.1f}\u2013{high:.1f}" for low, high in ends])

    def test_a_split_that_is_gone_has_no_intervals(self) -> None:
        path = self.folder / "data" / "dev_ims.npy"
        kept = path.read_bytes()
        path.unlink()
        try:
            cells = Page(self.report(self.run_folder)).cells
        finally:
            path.write_bytes(kept)
        self.assertEqual(len([cell for cell in cells if "\u2013" in cell]), 7)

    def test_the_dev_split_may_have_another_name(self) -> None:
        """Its recalls are "dev" in results.json all the same."""
        data, settings = self.folder / "data", self.run_folder / "config.ini"
        kept, files = settings.read_text(), [path for path in data.iterdir() if path.name.startswith("dev_")]
        named, count = re.subn(r"(?m)^dev_split\s*=.*$", "dev_split = check", kept)
        self.assertEqual(count, 1)
        settings.write_text(named)
        for path in files:
            path.rename(data / path.name.replace("dev", "check", 1))
        try:
            cells = Page(self.report(self.run_folder)).cells
        finally:
            settings.write_text(kept)
            for path in files:
                (data / path.name.replace("dev", "check", 1)).rename(path)
        self.assertEqual(len([cell for cell in cells if "\u2013" in cell]), 14)

    def test_is_of_the_run_not_of_what_is_given(self) -> None:
        page = self.report(self.run_folder)
        other = self.folder / "other.ini"
        other.write_text((self.folder / "my.ini").read_text().replace("width=12", "width=10"))
        to = self.folder / "other.html"
        done = self.train(other, "--report", "--out", to)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(to.read_text(encoding="utf-8"), page)

    def test_a_split_that_is_asked_for_is_shown_or_an_error(self) -> None:
        done = self.train(self.run_folder, "--report", "--split", "nosuch", "--out", self.folder / "none.html")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("nosuch", done.stderr)
        self.assertFalse((self.folder / "none.html").exists())

    def test_wrong_runs(self) -> None:
        run = self.copy("wrong")
        kept = (run / "metrics.jsonl").read_bytes()
        for name, content, says in (("metrics.jsonl", b"{}\nnonsense\n", "metrics.jsonl:2"),
                                    ("metrics.jsonl", b"[1]\n", "metrics.jsonl:1"),
                                    ("metrics.jsonl", b'{}\n\0{"step": 1}\n{}\n', "metrics.jsonl:2"),
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

    def test_run_beside_itself(self) -> None:
        again = self.folder / "again"
        again.symlink_to(self.run_folder)
        for others in (["--compare", self.run_folder], ["--compare", self.copy("beside"), "--compare", again]):
            done = self.train(self.run_folder, "--report", *others)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
            self.assertIn(f"--compare {others[-1]}: given twice, first as {self.run_folder}", done.stderr)

    def variant(self, name: bytes, seed: int, rate: str, plus: float) -> Path:
        """The run as if of another seed and rate, with other numbers."""
        run = self.copy(name)
        config = (run / "config.ini").read_text()
        config = config.replace("seed = 3", f"seed = {seed}").replace("lr = 0.01", f"lr = {rate}")
        (run / "config.ini").write_text(config)
        results = json.loads((run / "results.json").read_text())
        results["test"]["i2t"]["r1"] = 50 + plus
        (run / "results.json").write_text(json.dumps(results))
        return run

    def test_runs_side_by_side(self) -> None:
        first = self.variant(b"first", 1, "0.01", 0)
        others = [self.variant(b"second", 2, "0.01", 2), self.variant(b"other<b>\xff", 1, "0.02", 5),
                  self.variant(b"third", 5, "0.01", 7)]
        done = self.train(first, "--report", *(argument for other in others
                                               for argument in ("--compare", os.fsencode(other))))
        self.assertEqual(done.returncode, 0, done.stderr)
        text = (first / "comparison.html").read_text(encoding="utf-8")
        page = Page(text)
        self.assertIn("other<b>\ufffd", page.text["th"])
        values = [0.0, 2.0, 7.0]
        mean = sum(values) / 3
        spread = math.sqrt(sum((value - mean) ** 2 for value in values) / 2)
        self.assertEqual(page.cells[page.cells.index("mean of 3 runs") + 1], f"{50 + mean:.1f} \u00b1 {spread:.1f}")
        for setting, expected in (("[run] seed", ["1", "2", "1", "5"]), ("[train] lr", ["0.01", "0.01", "0.02", "0.01"])):
            row = page.cells.index(setting)
            self.assertEqual(page.cells[row + 1:row + 5], expected)
        self.assertNotIn("[run] folder", page.cells)
        self.assertNotIn("[train] epochs", page.cells)
        loss = text[text.index("<h3>Loss"):]
        loss = loss[:loss.index("</figure>")]
        curves = re.findall(r'<path class="curve c(\d)( faint)?" d="M[^"]+[L][^"]+"/>', loss.split("</figcaption>")[1])
        self.assertEqual(curves, [("0", " faint"), ("0", " faint"), ("1", ""), ("0", " faint"), ("0", "")])
        done = self.train(first, "--report", "--compare", self.folder / "nowhere")
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)

    def test_runs_of_one_name_and_of_other_data(self) -> None:
        """They are called by what tells them apart, and that they were ranked among other data is said."""
        runs = [self.folder / "beside" / name / f"seed={seed}" for name in ("one", "two") for seed in (1, 2)]
        for run in runs:
            shutil.copytree(self.run_folder, run)
            self.addCleanup(shutil.rmtree, run)
            config = (run / "config.ini").read_text()
            config = config.replace("seed = 3", f"seed = {run.name[-1]}")
            if run.parent.name == "two":
                config = config.replace("lr = 0.01", "lr = 0.02")
                results = json.loads((run / "results.json").read_text())
                results["test"] |= {"images": 1000, "captions": 5000}
                (run / "results.json").write_text(json.dumps(results))
            (run / "config.ini").write_text(config)
        text = self.compare("beside.html", runs).read_text()
        self.assertNotIn(str(self.folder), text)
        self.assertIn("<h1>one/seed=1 and 3 more</h1>", text)
        test, dev = text[text.index('id="recalls"'):text.index('id="configuration"')].split('<h3 class="way">')[1:]
        self.assertTrue(test.startswith("test<") and dev.startswith("dev<"))
        self.assertIn("Not all runs ranked the same data: 9 images, 18 captions; 1,000 images, 5,000 captions. Their", test)
        self.assertIn('<p class="note">9 images, 18 captions</p>', dev)
        self.assertEqual(re.findall(r'<th scope="row">(.*?)</th>', dev),
                         ["one/seed=1", "one/seed=2", "mean of 2 runs", "two/seed=1", "two/seed=2", "mean of 2 runs"])
        loss = text[text.index("<h3>Loss"):]
        self.assertEqual(re.findall(r"</svg>([^<]*) <b>", loss[:loss.index("</figcaption>")]), ["one, mean of 2", "two, mean of 2"])

    def test_many_runs_side_by_side(self) -> None:
        """As of a sweep: means first, each run in a part that is opened, a row a run, one legend, short names."""
        folder = os.fsencode(self.folder)
        runs = [self.variant(b"lr=%s,seed=%d" % (rate.encode(), seed), seed, rate, seed)
                for rate in ("0.1", "0.2", "0.3") for seed in range(1, 6)]
        done = self.train(runs[0], "--report", *(argument for run in runs[1:] for argument in ("--compare", run)))
        self.assertEqual(done.returncode, 0, done.stderr)
        text = (runs[0] / "comparison.html").read_text(encoding="utf-8")
        page = Page(text)
        self.assertNotIn(os.fsdecode(folder), text)
        recalls = text[text.index("<h3 class=\"way\">test"):text.index("<h3 class=\"way\">dev")]
        means, each = recalls.split("<details><summary>each of the 15 runs</summary>")
        self.assertEqual(re.findall(r'<th scope="row">(.*?) <small>mean of (\d) runs', means),
                         [("lr=0.1", "5"), ("lr=0.2", "5"), ("lr=0.3", "5")])
        self.assertEqual(each.count("<tr><th scope=\"row\">lr="), 15)
        self.assertIn("lr=0.3,<wbr>seed=5", each)
        row = page.cells.index("lr=0.2,seed=4", page.cells.index("[train] lr"))
        self.assertEqual(page.cells[row + 1:row + 3], ["4", "0.2"])
        legends = re.findall(r'<ul class="legend(?: common)?">(.*?)</ul>', text)
        self.assertEqual(re.findall(r"</svg>([^<]*)</li>", legends[0]), ["lr=0.1", "lr=0.2", "lr=0.3"])
        self.assertEqual(set(legends[1:]), {""})

    def compare(self, name: str, runs: list[Path]) -> Path:
        out = self.folder / name
        others = [argument for run in runs[1:] for argument in ("--compare", run)]
        done = self.train(runs[0], "--report", *others, "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out

    def report_without_pictures(self) -> Path:
        data, out = self.folder / "bare", self.folder / "bare.html"
        shutil.copytree(self.folder / "data", data, ignore=shutil.ignore_patterns("*_pictures.txt"))
        done = self.train(self.run_folder, "--report", "--set", f"data.folder={data}", "--out", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        return out

    def sweep(self) -> Path:
        done = self.train(self.folder / "my.ini", "--set", f"run.folder={self.folder / 'sweep'}",
                          "--sweep", "run.seed=1,2 train.lr=0.01,0.02 train.batch=8,9")
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.folder / "sweep" / "sweep.html"

    @unittest.skipUnless(BROWSER, "no chromium")
    def test_in_a_browser(self) -> None:
        """Each kind of page has room in the window, that of a telephone too, where nothing is scrolled sideways."""
        self.report(self.run_folder)
        runs = [self.variant(b"a-rate=%d,seed=%d" % (rate, seed), seed, f"0.{rate}", 50)
                for rate in range(1, 4) for seed in range(1, 6)]
        pages = [self.run_folder / "report.html", self.report_without_pictures(), self.compare("few.html", runs[:12]),
                 self.compare("many.html", runs), self.sweep()]
        browser = Browser(self.folder)
        self.addCleanup(browser.close)
        picture = self.folder / "page.png"
        for page in pages:
            for width, dark in ((360, False), (390, True), (768, False), (1280, True)):
                with self.subTest(page=page.name, width=width):
                    browser.look(width, 900, dark)
                    browser.open(page.as_uri())
                    self.assertEqual(browser.value("document.scrollingElement.clientWidth"), width)
                    self.assertEqual(browser.too_wide(), [])
                    browser.screenshot(picture)
                    self.assertGreater(picture.stat().st_size, 10_000)
        self.assertEqual(browser.errors, [])


if __name__ == "__main__":
    unittest.main()
