#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of `train --serve` over sockets: its answers are those of --query, and no client does harm.

Needs $CT_TRAIN, the program.
"""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tiny_run import configuration, write_data

TRAIN = os.environ.get("CT_TRAIN", "build/train")
MOST_BODY = 32 << 20
SLOW = 60  # seconds that a loaded machine may take for what is done at once


class Server:
    """A server at work; ended by Ctrl-C."""

    def __init__(self, *arguments: str | Path) -> None:
        # The address sanitizer would keep what was given back, and none could say how much memory a server takes.
        options = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=1")))
        self.process = subprocess.Popen([TRAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "ASAN_OPTIONS": options})
        assert self.process.stdout and self.process.stderr
        line = ""
        for line in self.process.stdout:
            if line.startswith("http://"):
                break
        said = re.match(r"http://(\S+):(\d+)/: (\d+) images, (\d+) captions; Ctrl-C ends\n", line)
        assert said, line + self.process.stderr.read()
        self.host, self.port = said[1].strip("[]"), int(said[2])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        status = self.end()
        assert status == 130, status

    def end(self, by: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(by)
        _, said = self.process.communicate(timeout=SLOW)
        assert not said, said
        return self.process.returncode

    def ask(self, path: str, method: str = "GET", body: bytes | None = None,
            headers: dict[str, str] | None = None) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SLOW)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data, answer.headers

    def json(self, path: str, status: int = 200, **how: Any) -> Any:
        """The object that is answered; of an error its sentence."""
        got, data, headers = self.ask(path, **how)
        assert got == status, (path, got, data)
        assert headers["Content-Type"] == "application/json"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        answer = json.loads(data)
        return answer if status == 200 else answer["error"]

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=SLOW)

    def raw(self, data: bytes) -> bytes:
        """All that is answered to these bytes, after which nothing more is sent."""
        with self.connect() as connection:
            answer = b""
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(1 << 16):
                    answer += part
            except OSError as error:
                # It may stop listening, and close, before all is said.
                if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                    raise
            return answer

    def memory(self) -> int:
        """Bytes of it that are there."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def answers(self) -> None:
        """That it still does, and soon."""
        begin = time.monotonic()
        assert len(self.json("/api/search?q=red")["images"]) == 10
        assert time.monotonic() - begin < 5


def png(width: int, height: int, rows: bytes) -> bytes:
    """Grey pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, "Host: localhost", *headers, "", ""]).encode()


def without(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As --json has them: what a server adds is left out."""
    return [{name: value for name, value in answer.items() if name not in ("id", "url")} for answer in answers]


class Serve(unittest.TestCase):
    folder: Path
    features: Path
    pictures: Path

    @classmethod
    def setUpClass(cls) -> None:
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.folder = Path(scratch.name)
        write_data(cls.folder / "data")
        cls.features, cls.pictures = cls.folder / "features", cls.folder / "pictures"
        for run in (cls.features, cls.pictures):
            config = run.with_suffix(".ini")
            config.write_text(configuration(cls.folder / "data", run, pictures=run == cls.pictures))
            cls.train(config)

    @staticmethod
    def train(*arguments: str | Path) -> str:
        done = subprocess.run([TRAIN, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, *arguments: str | Path) -> str:
        done = subprocess.run([TRAIN, *arguments], capture_output=True, text=True, timeout=SLOW)
        self.assertEqual(done.returncode, 2, done.stderr)
        return done.stderr

    # ---- what is answered ----

    def test_says_what_queries_say(self) -> None:
        picture = self.folder / "data" / "dev4.png"
        index = self.folder / "all.index"
        for run in (self.features, self.pictures):
            self.train(run, "--index", index)
            for options in ([], ["--in", index], ["--split", "test"]):
                with Server(run, "--serve", "0", "--top", "3", *options) as server:
                    for sentence in ("a red star", "Un zèbre, 'green' & <b>?"):
                        said = json.loads(self.train(run, "--query", sentence, "--top", "3", "--json", *options))
                        got = server.json(f"/api/search?q={quote(sentence)}")
                        self.assertEqual(without(got["images"]), said["images"])
                        self.assertEqual((got["query"], got["unknown"]), (sentence, said["unknown"]))
                        self.assertEqual((got["words"][0], got["words"][-1]), ("<start>", "<end>"))
                    got = server.json("/api/search-image?top=4", method="POST", body=picture.read_bytes(),
                                      status=200 if run == self.pictures else 422)
                    if run == self.features:
                        self.assertIn("this model reads features", got)
                        continue
                    said = json.loads(self.train(run, "--query-image", picture, "--top", "4", "--json", *options))
                    for side in ("images", "captions"):
                        self.assertEqual(without(got[side]), said[side])

    def test_shows_what_is_there(self) -> None:
        index = self.folder / "shown.index"
        self.train(self.features, "--index", index)
        for options in ([], ["--in", index]):
            with Server(self.features, "--serve=0", *options) as server:
                about = server.json("/api/about")
                self.assertEqual([about[key] for key in ("images", "captions", "search_image")], [42, 84, False])
                self.assertEqual([(split["split"], split["first_id"]) for split in about["splits"]],
                                 [("dev", 0), ("test", 9), ("train", 18)])
                image = server.json("/api/images/23")
                self.assertEqual((image["split"], image["image"], image["captions"]),
                                 ("train", 5, ["a blue circle", "circle blue"]))
                attention, = image["attention"]
                self.assertEqual(attention["module"], "image.attend")
                self.assertEqual([len(head) for head in attention["weights"]], [4, 4])
                self.assertEqual(attention["boxes"][1], [0.5, 0, 1, 0.5])
                status, data, headers = server.ask(image["url"])
                self.assertEqual((status, headers["Content-Type"]), (200, "image/jpeg"))
                self.assertEqual((data[:3], data[-2:]), (b"\xff\xd8\xff", b"\xff\xd9"))
                status, data, _ = server.ask(image["url"], headers={"If-None-Match": headers["ETag"]})
                self.assertEqual((status, data), (304, b""))
                self.assertEqual(server.ask(image["url"], method="HEAD")[:2], (200, b""))

    def test_an_index_without_its_data(self) -> None:
        index = self.folder / "alone.index"
        self.train(self.features, "--index", index)
        data = self.folder / "data"
        data.rename(self.folder / "moved")
        try:
            with Server(self.features, "--serve", "0", "--in", index) as server:
                found = server.json("/api/search?q=a+blue+circle")["images"][0]
                self.assertNotIn("url", found)
                image = server.json(f"/api/images/{found['id']}")
                self.assertNotIn("attention", image)
                self.assertIn(found["caption"], image["captions"])
                self.assertIn("not there", server.json(f"/pictures/{found['id']}", 404))
        finally:
            (self.folder / "moved").rename(data)

    def test_an_index_beside_other_data(self) -> None:
        """As many images, of which one is another: its pictures and attention would be of none that was found."""
        index, features = self.folder / "other.index", self.folder / "data" / "test_ims.npy"
        self.train(self.features, "--index", index)
        kept = features.read_bytes()
        for at, shown in ((-1, False), (None, True)):
            if at is not None:
                features.write_bytes(kept[:at] + bytes([kept[at] ^ 1]))
            try:
                with Server(self.features, "--serve", "0", "--in", index) as server:
                    for image, whole in ((0, True), (10, shown)):  # of dev, of test
                        answer = server.json(f"/api/images/{image}")
                        self.assertEqual(("attention" in answer, "url" in answer), (whole, whole), answer)
            finally:
                features.write_bytes(kept)

    def test_attention_lies_where_the_model_looks(self) -> None:
        rows = b"".join(b"\0" + bytes(200) for _ in range(100))
        with Server(self.pictures, "--serve", "0") as server:
            got = server.json("/api/search-image", method="POST", body=png(200, 100, rows))
            for attention in got["attention"]:
                boxes = attention["boxes"]
                self.assertEqual(len(boxes), 16)  # of the middle: 32 of 37 of the shorter side
                for value, expected in zip(boxes[0][:2] + boxes[15][2:],
                                           (21 / 74, 2 / 37, 53 / 74, 34 / 37)):
                    self.assertAlmostEqual(value, expected, delta=1e-6)

    def test_the_page_is_whole(self) -> None:
        source = Path(__file__).resolve().parents[2] / "train" / "serve"
        with Server(self.features, "--serve", "0") as server:
            for path, name, kind in (("/", "search.html", "text/html; charset=utf-8"),
                                     ("/search.css", "search.css", "text/css; charset=utf-8"),
                                     ("/search.js", "search.js", "text/javascript; charset=utf-8"),
                                     ("/search.svg", "search.svg", "image/svg+xml")):
                status, data, headers = server.ask(path)
                self.assertEqual((status, headers["Content-Type"]), (200, kind))
                self.assertEqual(data, (source / name).read_bytes())

    # ---- what is refused ----

    def test_wrong_requests(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            for path, how, status, says in (
                    ("/nothing", {}, 404, "docs/serve.md"),
                    ("/api", {}, 404, ""),
                    ("/api/search/", {}, 404, ""),
                    ("/api/search", {}, 400, "/api/search?q="),
                    ("/api/search?q=", {}, 400, "no sentence"),
                    ("/api/search?q=%20", {}, 422, "no word"),
                    ("/api/search?q=%ff", {}, 400, "UTF-8"),
                    ("/api/search?q=a%00b", {}, 400, "NUL"),
                    ("/api/search?q=" + "a" * 4001, {}, 400, "4001 bytes"),
                    ("/api/search?q=a&top=0", {}, 400, "from 1 to 1000"),
                    ("/api/search?q=a&top=1001", {}, 400, "from 1 to 1000"),
                    ("/api/search?q=a&top=-1", {}, 400, "top=-1"),
                    ("/api/search?q=a&top=99999999999999999999", {}, 400, "top="),
                    ("/api/search?q=a&top=%ff%22", {}, 400, 'top=?"'),
                    ("/api/search?q=a", {"method": "POST", "body": b"x"}, 405, "GET"),
                    ("/api/search?q=a", {"method": "DELETE"}, 405, "GET"),
                    ("/api/about", {"method": "OPTIONS"}, 405, "GET"),
                    ("/api/about", {"body": b"x"}, 400, "no body"),
                    ("/api/about", {"headers": {"Host": "rebound.example"}}, 421, "localhost"),
                    ("/api/about", {"headers": {"Host": "127.0.0.1.example:80"}}, 421, "localhost"),
                    ("/api/about", {"headers": {"Host": ""}}, 421, "localhost"),
                    ("/api/about", {"headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "another site"),
                    ("/api/search-image", {}, 405, "POST"),
                    ("/pictures/42", {}, 404, "0 to 41"),
                    ("/pictures/0?side=1", {}, 400, "side=1"),
                    ("/pictures/-1", {}, 404, ""),
                    ("/pictures/99999999999999999999999", {}, 404, ""),
                    ("/pictures/0x1", {}, 404, ""),
                    ("/api/images/", {}, 404, "")):
                with self.subTest(path=path, **how):
                    self.assertIn(says, server.json(path, status, **how))
            for name in ("localhost", "LOCALHOST:9", "127.0.0.1:1", "[::1]:80", "127.3.2.1"):
                self.assertEqual(server.ask("/api/about", headers={"Host": name})[0], 200, name)
            server.answers()

    def test_paths_lead_nowhere_else(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            for path in ("/../my.ini", "/pictures/../../etc/passwd", "/pictures/..%2f..%2fetc%2fpasswd",
                         "/pictures/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/pictures//etc/passwd", "/pictures/0/../1",
                         "/pictures/..%5c..%5cetc", "/pictures/1%00.png", "/etc/passwd", "/pictures/dev0.png",
                         str(self.folder / "data" / "dev0.png"), "/pictures" + str(self.folder / "data" / "dev0.png"),
                         "/api/images/..%2f0", "/%2e%2e", "/.", "/pictures/0%2f"):
                answer = server.raw(head(f"GET {path} HTTP/1.1", "Connection: close"))
                expected = b"HTTP/1.1 200" if path == "/pictures/1%00.png" else b"HTTP/1.1 404"  # ends at the NUL: 1
                self.assertEqual(answer[:12], expected, path)
                self.assertNotIn(b"root:", answer)

    def test_pictures_that_are_none(self) -> None:
        rows = b"".join(b"\0" + bytes(range(16)) for _ in range(16))
        good = png(16, 16, rows)
        bomb = png(60000, 60000, b"\0" * 100000)
        with Server(self.pictures, "--serve", "0") as server:
            def send(body: bytes, status: int = 422) -> Any:
                return server.json("/api/search-image", status, method="POST", body=body,
                                   headers={"Content-Type": "image/jpeg"})  # whatever is said of it
            self.assertEqual(len(send(good, 200)["images"]), 10)
            for body, says in ((b"", "empty"), (b"a text", "61 20 74 65"), (b"GIF89a" + bytes(40), "GIF"),
                               (b"\xff\xd8\xff", "JPEG"), (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"), (b"<svg/>", "SVG"),
                               (bomb, "60000 x 60000 pixels"), (bytes(1000), ""), (os.urandom(5000), "")):
                self.assertRegex(send(body), f"^the picture: .*{says}")
            for end in range(0, len(good) - 12, 7):  # but for the last chunk
                self.assertIn("the picture: ", send(good[:end]))
            for at in range(40, len(good) - 12, 3):
                changed = bytearray(good)
                changed[at] ^= 1
                server.ask("/api/search-image", method="POST", body=bytes(changed))
            server.answers()

    def test_pictures_that_are_gone_by_now(self) -> None:
        file, kept = self.folder / "data" / "dev4.png", self.folder / "kept.png"
        for run in (self.features, self.pictures):
            with Server(run, "--serve", "0") as server:
                file.rename(kept)
                try:
                    for put, status in ((lambda: None, 404), (lambda: os.mkfifo(file), 404), (lambda: file.mkdir(), 404),
                                        (lambda: file.write_text("no picture"), 500)):
                        put()
                        server.json("/pictures/4", status)
                        image = server.json("/api/images/4")  # what is known of it stays
                        self.assertEqual(image["captions"], ["a green circle", "circle green"])
                        self.assertEqual("attention" in image, run == self.features)
                        if file.is_dir():
                            file.rmdir()
                        else:
                            file.unlink(missing_ok=True)
                finally:
                    kept.rename(file)
                self.assertEqual(server.ask("/pictures/4")[0], 200)
                self.assertIn("attention", server.json("/api/images/4"))
                server.answers()

    def test_bodies_are_bounded(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            post = "POST /api/search-image HTTP/1.1"
            for lines, status in ((["Content-Length: 33554433"], 413), (["Content-Length: 99999999999999999999999"], 413),
                                  (["Content-Length: -5"], 400), (["Content-Length: 5x"], 400), ([], 411),
                                  (["Transfer-Encoding: chunked"], 411)):
                answer = server.raw(head(post, *lines))
                self.assertEqual(answer[:12].decode(), f"HTTP/1.1 {status}", lines)
            self.assertEqual(server.raw(head(post, "Content-Length: 100") + b"x" * 50), b"")  # never all of it
            most = server.json("/api/search-image", 422, method="POST", body=bytes(MOST_BODY))
            self.assertIn("the picture: ", most)
            server.answers()

    def test_heads_are_bounded(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            for data in (head("GET /" + "a" * 100_000 + " HTTP/1.1"), head("GET / HTTP/1.1", "X: " + "a" * 100_000),
                         head("GET / HTTP/1.1", *["X: y"] * 20_000), b"\0" * 100_000, b"\r\n" * 50_000,
                         os.urandom(10_000), b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                         b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500)):
                answer = server.raw(data)
                self.assertRegex(answer[:12], b"^($|HTTP/1.[01] [45])")
            server.answers()

    # ---- clients that are many, slow, or gone ----

    def test_slow_clients(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            slow = [server.connect() for _ in range(60)]
            for number, connection in enumerate(slow):
                connection.sendall((b"G", b"GET /api/about HTTP/1.1\r\nHost: x", b"")[number % 3])
            unread = [server.connect() for _ in range(20)]
            for connection in unread:
                connection.sendall(head("GET /pictures/0 HTTP/1.1") * 500)
            server.answers()
            begin = time.monotonic()
            self.assertIn(slow[0].recv(100)[:12], (b"", b"HTTP/1.1 408"))
            self.assertLess(time.monotonic() - begin, 30)  # 10 and the load of the machine
            server.answers()
            for connection in slow + unread:
                connection.close()

    def test_many_connections(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            held = []
            for _ in range(600):
                held.append(server.connect())
            server.answers()  # those that wait longest go
            for connection in held:
                connection.close()
            server.answers()

    def test_many_at_once(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            expected = server.ask("/api/search?q=a+red+star")[1]
            wrong = []

            def work() -> None:
                for _ in range(20):
                    if server.ask("/api/search?q=a+red+star")[1] != expected:
                        wrong.append(1)
            threads = [threading.Thread(target=work) for _ in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])

    def test_slow_uploads_are_in_nobodys_way(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            server.answers()
            before = server.memory()
            held = [server.connect() for _ in range(100)]
            for connection in held:
                connection.sendall(head("POST /api/search-image HTTP/1.1", f"Content-Length: {MOST_BODY}") + b"x")
            server.answers()
            picture = (self.folder / "data" / "dev4.png").read_bytes()
            begin = time.monotonic()
            self.assertEqual(len(server.json("/api/search-image", method="POST", body=picture)["images"]), 10)
            self.assertLess(time.monotonic() - begin, 5)
            self.assertLess(server.memory() - before, 64 << 20)  # a byte each takes no room for all
            for connection in held:
                connection.close()

    def test_bodies_together_are_bounded(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            server.answers()
            before = server.memory()
            held = []
            for _ in range(10):  # all of each but for a byte
                held.append(server.connect())
                try:
                    held[-1].sendall(head("POST /api/search-image HTTP/1.1", f"Content-Length: {MOST_BODY}"))
                    held[-1].sendall(bytes(MOST_BODY - 1))
                except OSError as error:
                    self.assertIn(error.errno, (errno.EPIPE, errno.ECONNRESET))
            self.assertLess(server.memory() - before, 200 << 20)  # 128 MiB, and what else an allocator keeps
            self.assertEqual(held[0].recv(1), b"")  # the first has given way
            picture = (self.folder / "data" / "dev4.png").read_bytes()
            self.assertEqual(server.ask("/api/search-image", method="POST", body=picture)[0], 200)
            held[-1].sendall(b"x")  # the last has not
            self.assertEqual(held[-1].recv(12), b"HTTP/1.1 422")
            for connection in held:
                connection.close()

    def test_kept_connections(self) -> None:
        with Server(self.pictures, "--serve", "0") as server:
            connection = http.client.HTTPConnection(server.host, server.port, timeout=SLOW)
            for path, status in [("/api/about", 200), ("/api/search?q=red", 200), ("/nothing", 404), ("/pictures/3", 200)] * 5:
                connection.request("GET", path)
                answer = connection.getresponse()
                answer.read()
                self.assertEqual(answer.status, status)
            connection.close()
            get = "GET /api/about HTTP/1.1"
            three = server.raw(head(get) * 2 + head(get, "Connection: close"))
            self.assertEqual(three.count(b"HTTP/1.1 200"), 3)

    # ---- beginning and end ----

    def test_ends_when_it_is_asked_to(self) -> None:
        for by in (signal.SIGINT, signal.SIGTERM):
            server = Server(self.pictures, "--serve", "0")
            held = [server.connect() for _ in range(3)]
            held[1].sendall(head("POST /api/search-image HTTP/1.1", "Content-Length: 1000") + b"x")
            server.answers()
            self.assertEqual(server.end(by), 130)
            for connection in held:
                connection.close()
            with self.assertRaises(ConnectionRefusedError):
                server.connect()

    def test_wrong_places(self) -> None:
        with Server(self.features, "--serve", "0") as server:
            said = self.refused(self.features, "--serve", str(server.port))
            self.assertEqual(said.count("\n"), 1)
            self.assertIn(f"port {server.port}: Address already in use; --serve=PORT takes another", said)
        again = Server(self.features, f"--serve={server.port}")  # free at once
        self.assertEqual(again.end(), 130)
        self.assertIn("--serve=70000: expected a port", self.refused(self.features, "--serve=70000"))
        self.assertIn("--top 1001: expected 1 to 1000", self.refused(self.features, "--serve=0", "--top", "1001"))
        self.assertIn("--address nowhere: ", self.refused(self.features, "--serve", "--address", "nowhere"))
        self.assertIn("192.0.2.1, port 0: ", self.refused(self.features, "--serve=0", "--address", "192.0.2.1"))
        self.assertIn("--address is for --serve", self.refused(self.features, "--query", "a", "--address", "::1"))
        self.assertIn("--json is for", self.refused(self.features, "--serve", "--json"))
        self.assertIn("one configuration at a time", self.refused(self.features, "--serve", "1", "2"))

    def test_names(self) -> None:
        """By whatever address it is reached: a name that a page of the web has pointed here is none of its own."""
        own = socket.gethostname()
        for options in ([], ["--address", "0.0.0.0"]):
            with Server(self.features, "--serve", "0", *options, "--host", "my.host", "--host", "other") as server:
                def asked(status: int, **headers: str) -> None:
                    got = server.ask("/api/about", headers={name.replace("_", "-"): value for name, value in headers.items()})
                    self.assertEqual(got[0], status, (options, headers, got[1]))
                for name in ("localhost", "MY.HOST:80", "my.host", "other:1", own, own + ":8080", "127.0.0.1", "192.0.2.7:80", "[::1]:9"):
                    asked(200, Host=name)
                for name in ("my.host.example", "rebound.example:8080", "other.", "a" * 300, "my.host/x:1", "[my.host", ""):
                    asked(421, Host=name)
                for origin in ("http://localhost:10", "http://localhost", "http://my.host", "localhost:9", "null", "",
                               "http://192.0.2.7", "http://rebound.example"):
                    asked(403, Host="localhost:9", Origin=origin)
                asked(200, Host="localhost:9", Origin="http://localhost:9")
                asked(200, Host="my.host", Origin="https://my.host")
                asked(200, Host="localhost", Origin="null", Sec_Fetch_Site="same-origin")  # the browser knows
                asked(403, Host="localhost", Origin="http://localhost", Sec_Fetch_Site="cross-site")
        for name in ("127.0.0.1", "a:80", "http://a", "[::1]", "a b"):
            self.assertIn(f"--host {name}: expected a name", self.refused(self.features, "--serve=0", "--host", name))
        self.assertIn("--host is for --serve", self.refused(self.features, "--query", "a", "--host", "a"))

    def test_other_addresses(self) -> None:
        if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text():
            for address in ("::1", "::ffff:127.0.0.1", "::"):
                with Server(self.features, "--serve", "0", "--address", address) as server:
                    server.answers()
                    self.assertEqual(server.ask("/api/about", headers={"Host": "my.host"})[0], 421)


if __name__ == "__main__":
    unittest.main()
