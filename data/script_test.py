# SPDX-License-Identifier: Apache-2.0
"""What the tests of the scripts share."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


class Scratch(unittest.TestCase):
    """A test with a folder and a script."""

    script: str

    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = Path(scratch.name)

    def run_script(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, HERE / self.script, *arguments], capture_output=True, text=True)

    def succeeds(self, *arguments: str | Path) -> str:
        done = self.run_script(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def fails(self, *arguments: str | Path) -> str:
        """Its one line of error; nothing may have been left beside the input."""
        before = sorted(self.folder.iterdir())
        done = self.run_script(*arguments)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertEqual(sorted(self.folder.iterdir()), before)
        return done.stderr
