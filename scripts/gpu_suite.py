# SPDX-License-Identifier: Apache-2.0
"""The tests of suite gpu, of a build folder or packed for another machine (docs/cuda.md).

Only Python's own library: it runs where there is no meson and nothing of this project is built.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "tests.json"
SKIPPED = 77  # the exit status of a test that cannot run here


class Wrong(Exception):
    """What the user gave does not fit; the message says how."""


@dataclass
class Test:
    name: str  # "test_cuda_copy gpu"
    command: list[str]
    env: dict[str, str]
    timeout: float  # seconds
    parallel: bool  # whether others may run beside it


def of_build(build: Path) -> list[Test]:
    """The suite as `meson test -C build --suite gpu` runs it."""
    path = build / "meson-info" / "intro-tests.json"
    try:
        entries = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Wrong(f"{build} is no build folder of meson's: {error}") from error
    tests = [Test(t["name"], t["cmd"], t["env"], t["timeout"], t["is_parallel"]) for t in entries
             if any(s.endswith(":gpu") for s in t["suite"])]
    if not tests:
        raise Wrong(f"{build} has no tests of suite gpu: it was set up without nvcc")
    return tests


def of_folder(folder: Path) -> list[Test]:
    """A suite that scripts/pack-gpu-build packed, unpacked at `folder`."""
    def here(text: str) -> str:
        return text.replace("{folder}", str(folder))

    entries = json.loads((folder / MANIFEST).read_text())
    tests = [Test(**e) for e in entries]
    for t in tests:
        t.command = [here(word) for word in t.command]
        t.env = {key: here(value) for key, value in t.env.items()}
    return tests


def library_path(folder: Path) -> str:
    """Where the loader looks: what was packed, then CUDA's own libraries, of the toolkit or of the
    packages that PyTorch brings. The variable as it is comes first."""
    folders = [os.environ.get("LD_LIBRARY_PATH", ""), str(folder / "lib"),
               "/usr/local/cuda/lib64"]
    for path in sys.path:
        folders += sorted(glob.glob(f"{glob.escape(path)}/nvidia/*/lib"))
    return ":".join(f for f in folders if f)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[list[Test]]:
    """The tests of a build folder, of a packed suite's folder or of the packed suite itself."""
    path = path.resolve()
    if not path.exists():
        raise Wrong(f"{path} is not there")
    with tempfile.TemporaryDirectory(prefix="gpu-suite-") as unpacked:
        if path.is_file():
            try:
                with tarfile.open(path) as archive:
                    archive.extractall(unpacked, **safely())
            except (OSError, tarfile.TarError) as error:
                raise Wrong(f"{path} is no packed suite: {error}") from error
            path = Path(unpacked)
        if not (path / MANIFEST).is_file():
            yield of_build(path)
            return
        tests = of_folder(path)
        for t in tests:
            t.env["LD_LIBRARY_PATH"] = library_path(path)
        yield tests


def safely() -> dict[str, str]:
    """tarfile's filter against paths outside the folder, where this Python has it."""
    return {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@dataclass
class Outcome:
    status: int | None  # exit status, negative for a signal; None: it was stopped at its limit
    seconds: float
    output: list[str]  # the last lines


def run(command: list[str], env: dict[str, str], seconds: float, lines: int = 20) -> Outcome:
    """Runs a command with `env` added to the environment; at the limit it is stopped with all that
    it started."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            status: int | None = process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
    last = [line[:400] for line in text.splitlines()[-lines:]]
    return Outcome(status, round(time.monotonic() - started, 2), last)
