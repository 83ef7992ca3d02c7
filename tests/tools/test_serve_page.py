#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The page of `train --serve` in headless Chromium: typed, seen, clicked, dropped; exit status 77 without Chromium.

Needs $CT_TRAIN, the program. Screenshots are left in $CT_SCREENSHOTS, if that is set.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote

from browser import BROWSER, Browser
from test_serve import TRAIN, Server
from tiny_run import WILD, configuration, write_data

SCREENSHOTS = os.environ.get("CT_SCREENSHOTS")
CARDS = "[...document.querySelectorAll('.grid .card img')].map((picture) => picture.src.replace(/.*pictures.(\\d+).*/, '$1'))"
DONE = "!document.querySelector('.busy') && !/^Searching/.test(document.querySelector('#said').textContent)"
DRAWN = "[...document.querySelectorAll('img')].every((picture) => picture.complete && picture.naturalWidth > 0)"


class ServePage(unittest.TestCase):
    folder: Path
    server: Server
    browser: Browser

    @classmethod
    def setUpClass(cls) -> None:
        scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)
        write_data(cls.folder / "data")
        config = cls.folder / "pictures.ini"
        config.write_text(configuration(cls.folder / "data", cls.folder / "run", pictures=True))
        done = subprocess.run([TRAIN, config], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        cls.server = Server(cls.folder / "run", "--serve", "0")
        cls.addClassCleanup(cls.server.end)
        cls.browser = Browser(cls.folder)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self) -> None:
        self.browser.errors.clear()
        self.browser.look(1200, 900, dark=False)
        self.open("")

    def tearDown(self) -> None:
        self.assertEqual(self.browser.errors, [])

    def open(self, more: str) -> None:
        self.browser.open(f"http://127.0.0.1:{self.server.port}/{more}")
        self.browser.wait("document.querySelector('#about').textContent")

    def said(self) -> str:
        return self.browser.value("document.querySelector('#said').textContent")

    def test_a_sentence(self) -> None:
        browser = self.browser
        browser.type("a red zebra")  # the field has the focus
        browser.press("Enter", 13)
        browser.wait(f"document.querySelector('.card') && {DONE}")
        found = self.server.json("/api/search?q=a+red+zebra&top=20")
        ids = [str(image["id"]) for image in found["images"]]
        self.assertEqual(browser.value(CARDS), ids[:10])
        self.assertIn('does not know "zebra"', self.said())
        self.assertEqual(browser.value("[...document.querySelectorAll('.steps b')].map((word) => word.textContent)"), found["words"])
        self.assertEqual(browser.value("document.querySelectorAll('.steps .unknown').length"), 1)
        self.assertEqual(browser.value("document.querySelectorAll('.steps .bars i').length"), 2 * len(found["words"]))
        browser.click("#more")
        browser.wait(f"document.querySelectorAll('.card').length == 20 && {DONE}")
        self.assertEqual(browser.value(CARDS), ids)
        self.open("?q=a+red+zebra")  # as it stands in the address now
        browser.wait("document.querySelector('.card')")
        self.assertEqual(browser.value(CARDS), ids[:10])

    def test_a_step_back_is_the_sentence_before(self) -> None:
        browser = self.browser
        field = "document.querySelector('#sentence')"
        for sentence in ("a red square", "a blue circle"):
            browser.value(f"{field}.select()")
            browser.type(sentence)
            browser.press("Enter", 13)
            browser.wait(f"document.querySelector('.card') && {DONE}")
            self.assertEqual(browser.value("document.title"), f"{sentence} - Search run")
        read = "[...document.querySelectorAll('.steps b')].map((word) => word.textContent).join(' ')"
        browser.value("history.back()")
        browser.wait(f"{field}.value == 'a red square' && {DONE} && {read}.includes('red square')")
        browser.value("history.back()")
        browser.wait(f"{field}.value == '' && !document.querySelector('.card')")
        self.assertEqual((self.said(), browser.value("document.title")),
                         ("Type what a picture shows, and press Enter.", "Search run"))
        browser.value("history.go(2)")
        browser.wait(f"{field}.value == 'a blue circle' && {DONE} && {read}.includes('blue circle')")

    def test_an_image_is_looked_at_closer(self) -> None:
        browser = self.browser
        self.open("?q=a+blue+circle")
        browser.wait("document.querySelector('.card')")
        first, second = (self.server.json(f"/api/images/{id}") for id in browser.value(CARDS)[:2])
        browser.click(".card")
        browser.wait("document.querySelector('dialog[open] .heat')")
        name = "document.querySelector('#closer-name').textContent"
        self.assertEqual(browser.value(name), f"Image {first['image']} of {first['split']}")
        self.assertEqual(browser.value("document.querySelectorAll('dialog .heat').length"), 16)
        self.assertEqual(browser.value("[...document.querySelectorAll('#closer-captions li')].map((line) => line.textContent)"),
                         first["captions"])
        self.assertEqual(browser.value("document.querySelectorAll('dialog .heads button').length"), 1 + 3)  # none, 2 and 1 heads
        heads = [weights for module in first["attention"] for weights in module["weights"]]
        weights = [weights for weights in heads if min(weights) < max(weights)][-1]
        ends = browser.value("document.querySelector('dialog .heads .note').textContent")
        self.assertEqual([float(end) for end in ends.split(" to ")], [float(f"{end:.3g}") for end in (min(weights), max(weights))])
        browser.click("dialog .heads button")
        browser.wait("!document.querySelector('dialog .heat')")
        self.assertEqual(browser.value("document.querySelector('dialog .heads .note').textContent"), "")
        browser.press("ArrowRight", 39)
        browser.wait(f"{name} == 'Image {second['image']} of {second['split']}'")
        browser.wait(DRAWN)
        browser.press("Escape", 27)
        browser.wait("!document.querySelector('dialog[open]')")

    def test_a_picture(self) -> None:
        browser, picture = self.browser, self.folder / "data" / "test4.png"
        found = self.server.json("/api/search-image?top=10", method="POST", body=picture.read_bytes())
        for give in (browser.drop, lambda path: browser.choose("#picture", path)):
            self.open("")
            give(picture)
            browser.wait(f"document.querySelectorAll('section h2').length == 2 && {DONE} && {DRAWN}")
            self.assertEqual(browser.value(CARDS), [str(image["id"]) for image in found["images"]])
            captions = browser.value("[...document.querySelectorAll('.lines p')].map((line) => line.lastChild.textContent)")
            self.assertEqual(captions, [caption["caption"] for caption in found["captions"]])
            self.assertEqual(browser.value("document.querySelectorAll('#asked .heat').length"), 16)

    def test_what_is_wrong_is_said(self) -> None:
        browser = self.browser
        browser.press("Enter", 13)
        browser.wait("document.querySelector('#said').textContent == 'Type a sentence first.'")
        browser.drop(self.folder / "pictures.ini")
        browser.wait("/^the picture: /.test(document.querySelector('#said').textContent)")
        self.assertEqual(browser.value("document.querySelectorAll('.card').length"), 0)
        # the browser itself notes the status 422
        self.assertEqual([error for error in browser.errors if "status of 422" not in error], [])
        browser.errors.clear()

    def test_texts_stay_texts(self) -> None:
        browser = self.browser
        browser.type(WILD)
        browser.press("Enter", 13)
        browser.wait(f"document.querySelector('.card') && {DONE}")
        words = self.server.json(f"/api/search?q={quote(WILD)}")["words"]
        self.assertIn("script", words)
        self.assertEqual(browser.value("[...document.querySelectorAll('.steps b')].map((word) => word.textContent)"), words)
        self.open("?q=a+red+square")
        browser.wait("document.querySelector('.card')")
        browser.value("openCloser(0)")
        browser.wait("document.querySelector('#closer-captions li')")
        self.assertEqual(browser.value("document.querySelectorAll('#closer-captions li')[1].textContent"), WILD)
        self.assertEqual(browser.value("document.querySelectorAll('body script').length"), 0)

    def test_screens(self) -> None:
        browser = self.browser
        for width in (1200, 390, 360):
            for dark in (False, True):
                browser.look(width, 900, dark)
                self.open("?q=a+red+square")
                browser.wait(f"document.querySelector('.card') && {DONE} && {DRAWN}")
                self.assertLessEqual(browser.value("document.documentElement.scrollWidth"), width)
                paper = browser.value("getComputedStyle(document.body).backgroundColor")
                self.assertEqual(paper, "rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
                name = f"{'dark' if dark else 'light'}_{width}"
                self.assertEqual(browser.too_wide(), [])
                self.shot(f"found_{name}")
                browser.click(".card")
                browser.wait(f"document.querySelector('dialog[open] .heat') && {DRAWN}")
                self.shot(f"closer_{name}")

    def shot(self, name: str) -> None:
        if SCREENSHOTS:
            self.browser.screenshot(Path(SCREENSHOTS) / f"{name}.png")


if __name__ == "__main__":
    if not BROWSER:
        print("no chromium")
        sys.exit(77)
    unittest.main()
