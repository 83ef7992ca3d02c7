#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/run-gpu-suite and scripts/sanitize-gpu on a packed suite of small shell programs."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

# What stands in for compute-sanitizer: runs what stands behind its options, and reports an error
# where the program's name says so.
SANITIZER = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift 2; done
"$@" || exit $?
case "$1" in
*found*) echo "========= ERROR SUMMARY: 3 errors"; exit 99;;
*silent*) exit 0;;
esac
echo "========= ERROR SUMMARY: 0 errors"
"""


class Suite(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        (self.folder / "bin").mkdir()
        self.entries: list[dict] = []

    def add(self, name: str, script: str, timeout: float = 30, parallel: bool = True) -> None:
        program = self.folder / "bin" / name
        program.write_text("#!/bin/sh\n" + script + "\n")
        program.chmod(0o755)
        self.entries.append({"name": f"{name} gpu", "command": ["{folder}/bin/" + name],
                             "env": {"DATA": "{folder}/data"}, "timeout": timeout,
                             "parallel": parallel})

    def write(self) -> None:
        (self.folder / "tests.json").write_text(json.dumps(self.entries))

    def call(self, script: str, *arguments: object,
             env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        self.write()
        return subprocess.run([SCRIPTS / script, *map(str, arguments)], capture_output=True,
                              text=True, env={**os.environ, **(env or {})})

    def run_suite(self, *arguments: object, suite: Path | None = None) -> tuple[int, dict]:
        out = self.folder / "out.json"
        done = self.call("run-gpu-suite", suite or self.folder, "--out", out, *arguments)
        return done.returncode, json.loads(out.read_text())

    def test_results(self) -> None:
        self.add("good", 'echo "$DATA"; echo "$LD_LIBRARY_PATH"')
        self.add("bad", "seq 30; exit 1")
        self.add("absent", "echo skipped: no driver; exit 77")
        self.add("slow", "sleep 60", timeout=0.5)
        self.add("crash", "kill -SEGV $$", parallel=False)
        status, summary = self.run_suite()
        rows = {row["name"].split()[0]: row for row in summary["tests"]}
        self.assertEqual(status, 1)
        self.assertEqual({name: row["result"] for name, row in rows.items()},
                         {"good": "passed", "bad": "failed", "absent": "skipped",
                          "slow": "stopped", "crash": "failed"})
        data, libraries = rows["good"]["output"]
        self.assertEqual(data, str(self.folder / "data"))
        self.assertIn(str(self.folder / "lib"), libraries.split(":"))
        self.assertEqual(rows["bad"]["output"], [str(i) for i in range(11, 31)])
        self.assertLess(rows["slow"]["seconds"], 20)
        self.assertEqual(summary["counts"],
                         {"failed": 2, "passed": 1, "skipped": 1, "stopped": 1})

    def test_exit_status(self) -> None:
        self.add("one", "exit 77")
        self.assertEqual(self.run_suite()[0], 77)
        self.add("two", "exit 0")
        self.assertEqual(self.run_suite()[0], 1)
        self.entries.pop(0)
        self.assertEqual(self.run_suite()[0], 0)

    def test_limit_of_all(self) -> None:
        for name in ("first", "second", "third"):
            self.add(name, "sleep 60")
        status, summary = self.run_suite("--limit", 1, "--jobs", 2)
        self.assertEqual(status, 1)
        self.assertEqual([row["result"] for row in summary["tests"]],
                         ["stopped", "stopped", "not run"])

    def test_archive_and_what_is_none(self) -> None:
        self.add("good", "exit 0")
        self.write()
        with tempfile.TemporaryDirectory() as other:
            archive = Path(other) / "suite.tar.gz"
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(self.folder, arcname=".")
            self.assertEqual(self.run_suite(suite=archive)[0], 0)
            for wrong, text in ((Path(other), "no build folder"), (Path(other) / "x", "not there"),
                                (Path(__file__), "no packed suite")):
                done = self.call("run-gpu-suite", wrong)
                self.assertEqual(done.returncode, 2)
                self.assertIn(text, done.stderr)

    def sanitize(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        (tools / "compute-sanitizer").write_text(SANITIZER)
        (tools / "compute-sanitizer").chmod(0o755)
        return self.call("sanitize-gpu", self.folder, *arguments,
                         env={"PATH": f"{tools}:{os.environ['PATH']}"})

    def test_sanitizer(self) -> None:
        self.add("test_cuda_reduce", '[ "$CK_FORK" = no ]')
        self.add("test_cuda_copy", "exit 0")
        self.add("test_cuda_train", "exit 1")
        self.add("test_train", "exit 1")
        done = self.sanitize()
        lines = [line.split()[2:] for line in done.stdout.splitlines()]
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(lines, [[tool, f"{name}:", "clean"] for tool, names in (
            ("memcheck", ["test_cuda_reduce", "test_cuda_copy"]),
            ("initcheck", ["test_cuda_reduce", "test_cuda_copy"]),
            ("synccheck", ["test_cuda_reduce", "test_cuda_copy"]),
            ("racecheck", ["test_cuda_reduce"])) for name in names])

    def test_sanitizer_finds(self) -> None:
        for name, said in (("test_cuda_found", "ERROR SUMMARY: 3 errors"),
                           ("test_cuda_silent", "did not run it"), ("test_cuda_bad", "failed")):
            self.entries.clear()
            self.add(name, "exit 1" if name.endswith("bad") else "exit 0")
            done = self.sanitize("--tool", "memcheck")
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(said, done.stdout)

    def test_sanitizer_without_what_it_needs(self) -> None:
        self.add("test_cuda_copy", "echo no GPU; exit 77")
        done = self.sanitize()
        self.assertEqual((done.returncode, "no GPU" in done.stdout), (77, True))


if __name__ == "__main__":
    unittest.main()
