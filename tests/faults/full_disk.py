#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains on disks that are really full: file systems of a few pages more each time, until one is enough.

    tests/faults/full_disk.py TRAIN          as root, who may mount them

On each, training must end with 0, or with 2 and one sentence. What was saved must be whole; and once the disk has been made
larger, --resume (or --overwrite, if nothing was saved) must end in the bits of a training that nothing happened to.
"""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import experiment  # noqa: E402
import walk  # noqa: E402

ENOUGH, PAGE = 64 << 20, 4096


def pages(folder):
    """That tmpfs needs for the files of a folder."""
    return sum(-(-path.stat().st_size // PAGE) for path in folder.rglob("*") if path.is_file())


class Disk:
    """A file system of so many pages, mounted there."""

    def __init__(self, folder, size):
        self.folder = folder
        folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size * PAGE}", "tmpfs", folder], check=True)

    def __enter__(self):
        return self

    def enlarge(self):
        subprocess.run(["mount", "-o", f"remount,size={ENOUGH}", self.folder], check=True)

    def __exit__(self, *_):
        subprocess.run(["umount", self.folder], check=True)
        self.folder.rmdir()


def known(folder):
    return {name: walk.known_whole(folder / name) for name in walk.RUN if (folder / name).exists()}


def wrong_on(disk, start, whole):
    """What is wrong, or None; whether the disk was enough."""
    at = start.copy(disk.folder / "at")
    ended = at.run()
    said = ended.stderr.decode(errors="replace")
    if ended.returncode == 0:
        return (None if known(at.folder) == whole else "ends well, and leaves something else"), True
    if ended.returncode != 2 or not walk.SENTENCE.fullmatch(said):
        return f"status {ended.returncode}: {said}", False
    left = [path.name for path in at.folder.rglob("*.partial")]
    if left:
        return f"leaves {left[0]}", False
    known(at.folder)  # an exception where one is not whole
    disk.enlarge()
    again = at.run(*walk.go_on(at.folder))
    if again.returncode != 0:
        return f"gone on with it ends with {again.returncode}: {again.stderr.decode(errors='replace')}", False
    now = known(at.folder)
    log, right = now.pop("run/metrics.jsonl"), dict(whole)
    lines = right.pop("run/metrics.jsonl")
    rest = iter(lines)
    if len(log) < len(lines) - 1 or not all(line in rest for line in log):
        return f"gone on with, its log has {len(log)} of {len(lines)} lines, or others: {said}", False
    return (None if now == right else f"gone on with it leaves something else: {said}"), False


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="cotangent-disk-") as name:
        folder = pathlib.Path(name)
        start = experiment.Experiment.make(program, None, folder / "start")
        end = start.copy(folder / "end")
        end.must()
        whole = known(end.folder)
        size, wrong, full = pages(start.folder) + 1, 0, 0
        enough = False
        while not enough:
            with Disk(folder / "disk", size) as disk:
                problem, enough = wrong_on(disk, start, whole)
            if problem:
                wrong += 1
                print(f"{size} pages: {problem}")
            full += not enough
            size += 1
    print(f"{full} full disks, up to {size - 1} pages: {wrong} wrong")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
