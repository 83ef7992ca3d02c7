# SPDX-License-Identifier: Apache-2.0
"""The programs that benchmarks/gpu and benchmarks/compare-pytorch start and ask."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

Json = dict[str, object]


ROOT = Path(__file__).resolve().parent.parent


def commit() -> str:
    """Of this repository, or what $COMMIT says where git is not there."""
    done = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"],
                          capture_output=True, text=True) if shutil.which("git") else None
    return done.stdout.strip() if done and done.returncode == 0 else os.environ.get("COMMIT", "unknown")


class Failed(Exception):
    """A program did not do what it was started for; the message says what it said."""


class Program:
    """A training that answers commands, a line of JSON for a line (benchmarks/gpu_step.c)."""

    def __init__(self, command: list[str], env: dict[str, str], folder: Path) -> None:
        self.command, self.lines = command, queue.Queue()
        self.said: list[str] = []  # beside its answers
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, cwd=folder, env={**os.environ, **env}, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(line)
            else:
                self.said.append(line.rstrip())
        self.lines.put(None)

    def answer(self, seconds: float) -> Json:
        try:
            line = self.lines.get(timeout=max(seconds, 0.1))
        except queue.Empty:
            self.stop()
            raise Failed(f"no answer within {seconds:.0f} s") from None
        if line is None:
            raise Failed(self.last_words())
        return json.loads(line)

    def ask(self, command: str, seconds: float) -> Json:
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed(self.last_words()) from None
        return self.answer(seconds)

    def last_words(self) -> str:
        self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace").strip()
        return text[-2000:] or f"exit status {self.process.returncode}"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
