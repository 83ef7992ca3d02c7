#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lets the n-th allocation, or file operation, of each command of `train` fail, and looks at what comes of it.

    tests/faults/walk.py TRAIN LIBRARY [--kinds memory,write,...] [--commands training,...] [--modes once,on,kill]
                         [--all | --samples N] [--errors EIO,ENOSPC,...] [--keep FOLDER]

Without --all or --samples, the first of each that is reached by other calls than those before: what can be
different between two of the rest is little. --samples takes N of those, evenly spread, always the same.

A fault is an error, once or from then on, or ends the program as kill -9 does. Expected is exit status 2 with one
sentence, or status 0 with what an undisturbed run leaves; all that was saved
before whole; no temporary file; no memory that is not given back, where an allocation failed; and that the command,
given again, ends as if nothing had been (once for what different faults leave alike).
"""
import argparse
import collections
import concurrent.futures
import errno
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import experiment  # noqa: E402

KINDS = ["memory", "write", "short", "fsync", "rename", "open", "mmap", "close", "cut", "read", "mkdir", "unlink", "stat"]
# These do not ask whether they have got what they asked for, and end the program (docs/faults.md).
FRAGILE = {"libdnnl.so.2"}
ENDING = FRAGILE | {"libgomp.so.1"}
ENDED = "train: out of memory\n"  # said where a C++ library ends it, whichever allocation was the first to fail
# Whose memory is to be given back; the others keep what they made for the next call.
GIVE_BACK = ("train", "libjansson.so.4", "libc.so.6", "libpcre2-8.so.0", "libprotobuf-c.so.1")
# It says something behind its colons, and of no argument that a function was not given.
SENTENCE = re.compile(r"(?:train: |\nlibgomp: )(?![^\n]* is NULL)[^\n]*[^\n: ]\n")
ADVICE = re.compile(rb" \(slow here: [^)]*\)")  # depends on what the program could set for itself


def known_whole(path):
    """What a file says, as far as it is the same in every run; an exception where it is not whole."""
    if path.suffix == ".safetensors":
        return experiment.tensors(path)
    if path.name == "results.json":
        return experiment.results(path)
    if path.name == "metrics.jsonl":
        return experiment.metrics(path)
    return path.read_bytes()


class Command:
    """Options, what it starts from (run before by `given`), the files it leaves; how to take it up again, unless
    it leaves the run as it is."""

    def __init__(self, options, files, given=(), again=None, printed=False, leaves_out=False,
                 config="tiny.ini", threads=False):
        self.options, self.files, self.given, self.printed = options, files, given, printed
        self.threads = threads  # or processes of its own, which one that branches off would not have
        self.leaves_out = leaves_out  # and says so, what cannot be read
        self.again, self.config = again, config


def live_blocks(log):
    """{library: blocks} at the end of a log; None where main did not return."""
    last = log.read_text(encoding="utf-8").splitlines()[-1:] if log.exists() else []
    if not last or not last[0].startswith("live"):
        return None
    return {name: int(blocks) for name, blocks in (item.split("=") for item in last[0].split()[1:])}


def go_on(folder):
    """How to take up a training that something happened to."""
    return ["--resume"] if (folder / "run/last.safetensors").exists() else ["--overwrite"]


RUN = ["run/best.safetensors", "run/last.safetensors", "run/results.json", "run/metrics.jsonl"]
TRAINED = [["--steps", "1"], ["--resume"]]
COMMANDS = {
    "training": Command([], RUN, again=go_on),
    "overwriting": Command(["--overwrite", "--set", "train.lr=0.02"], RUN, TRAINED,
                           again=lambda folder: ["--overwrite", "--set", "train.lr=0.02"]),
    "resuming": Command(["--resume"], RUN, TRAINED[:1], again=go_on),
    "evaluation": Command(["--evaluate", "test", "--out", "recalls.json", "--bootstrap", "20"], ["recalls.json"], TRAINED,
                          printed=True),
    "query": Command(["--query", "a red zebra", "--json"], [], TRAINED, printed=True, leaves_out=True),
    "index": Command(["--index", "all.index"], ["all.index"], TRAINED, printed=True, leaves_out=True),
    "search": Command(["--query", "a red zebra", "--in", "all.index"], [], [*TRAINED, ["--index", "all.index"]], printed=True),
    "report": Command(["--report", "--out", "page.html"], ["page.html"], TRAINED, leaves_out=True),
    "comparison": Command(["--report", "--compare", "other", "--out", "page.html"], ["page.html"],
                          [*TRAINED, ["--set", "run.folder=other"]], leaves_out=True),
    "sweep": Command(["--sweep", "run.seed=1..2"], ["run/sweep.json", "run/sweep.html"],  # of runs that have ended
                     [["--set", f"run.seed={seed}", "--set", f"run.folder=run/seed={seed}"] for seed in (1, 2)], printed=True, threads=True),
    "embedding": Command(["--embed", "test", "--out", "embeddings"], ["embeddings/img_embs.npy", "embeddings/cap_embs.npy"],
                         TRAINED, printed=True),
    "export": Command(["--export", "weights.safetensors"], ["weights.safetensors"], TRAINED, printed=True),
    "pictures": Command([], RUN, again=go_on, config="pictures.ini", threads=True),
    "picture": Command(["--query-image", "pictures/train1.jpg"], [], TRAINED, printed=True, leaves_out=True,
                       config="pictures.ini"),
    "dry-run": Command(["--dry-run"], [], printed=True),
}


class Case:
    """A command with what it starts from and what it leaves when nothing happens to it."""

    def __init__(self, name, program, library, base):
        self.name, self.command = name, COMMANDS[name]
        self.start = experiment.Experiment.make(program, library, base / name / "start", self.command.config)
        for options in self.command.given:
            self.start.must(*options)
        self.before = self.files_of(self.start)
        self.run_before = {path.relative_to(self.start.folder): path.read_bytes()
                           for path in self.start.folder.glob("run/**/*") if path.is_file()}
        self.end = self.start.copy(base / name / "end")
        self.output = ADVICE.sub(b"", self.end.must(*self.command.options).stdout)
        self.after = self.files_of(self.end)
        self.states = self.every_state(base / name / "state")
        self.servers, self.all_servers = threading.local(), []
        self.again_of = {}  # what was wrong with what was left in a state
        self.kept = self.blocks_kept(base / name)

    def close(self):
        for server in self.all_servers:
            server.close()

    def run(self, at, options, fault, log):
        """`train` with a fault, by a server of this thread's."""
        servers = self.servers.__dict__
        key = " ".join(options)
        if key not in servers:
            servers[key] = experiment.Server(at, options)
            self.all_servers.append(servers[key])
        return servers[key].run(at, fault, log)

    def blocks_kept(self, folder):
        """{library: blocks that it has when main returns} where nothing fails."""
        log = folder / "kept"
        self.run(self.start.copy(folder / "at"), self.command.options, "memory 1000000000 once", log)
        return live_blocks(log)

    def files_of(self, of):
        return {name: known_whole(of.folder / name) for name in self.command.files if (of.folder / name).exists()}

    def every_state(self, folder):
        """{file: what it may be} at any moment of the command."""
        states = collections.defaultdict(list)
        for step in range(1, 3) if self.command.again else []:
            at = self.start.copy(folder)
            if at.run(*self.command.options, "--steps", str(step)).returncode == 0:
                for name, known in self.files_of(at).items():
                    states[name].append(known)
        for known in (self.before, self.after):
            for name, value in known.items():
                states[name].append(value)
        return states

    def count(self, folder):
        """[(kind, hash of the calls)] of all that happens in an undisturbed run."""
        log = folder / "log"
        events = []
        for kind in ("memory", "calls"):
            at = self.start.copy(folder / "at")
            log.unlink(missing_ok=True)
            ended = at.run(*self.command.options, CT_FAULT=f"{kind} 0 once", CT_FAULT_LOG=str(log))
            if ended.returncode == 77:
                print("system calls cannot be watched here")
                continue
            if ended.returncode != 0:
                raise SystemExit(f"{self.name}: counting {kind}: status {ended.returncode}\n{ended.stderr.decode()}")
            lines = [line.split() for line in log.read_text(encoding="utf-8").splitlines() if not line.startswith("live")]
            events += [line for line in lines if (line[0] == "memory") == (kind == "memory")]
        return events

    # ---- one fault -------------------------------------------------------------------------

    def wrong(self, folder, fault, trunk):
        """What is wrong after a fault (kind, number, mode, error), or None; whether it was reached; what was said."""
        kind, _, mode, _ = fault
        log = folder / "log"
        line = " ".join(map(str, fault))
        try:
            if trunk:
                at = self.start.at(folder / "at")
                ended = trunk.run(at, line, log)
            else:
                at = self.start.copy(folder / "at")
                ended = self.run(at, self.command.options, line, log)
        except subprocess.TimeoutExpired:
            return "hangs", "", ""
        except EOFError:
            return None, None, "not reached"
        said = ended.stderr.decode(errors="replace")
        events = [line.split() for line in log.read_text(encoding="utf-8").splitlines() if not line.startswith("live")]
        library = events[0][2] if events else None
        if library in FRAGILE and ended.returncode == -signal.SIGSEGV:
            return self.wrong_files(at, False) or self.wrong_again(at), library, f"ended by {library}"
        killed = mode == "kill" and library is not None
        if killed and ended.returncode == -signal.SIGKILL:
            return self.wrong_files(at, False) or self.wrong_again(at), library, said
        wrong = self.wrong_end(at, ended, said, kind, library)
        if not wrong and not self.may_leave_out(kind):
            wrong = self.wrong_files(at, ended.returncode == 0)
        return wrong or (kind == "memory" and self.wrong_blocks(log)) or self.wrong_again(at), library, said

    def wrong_blocks(self, log):
        now = live_blocks(log)
        more = [f"{now[name] - self.kept.get(name, 0)} of {name}" for name in GIVE_BACK
                if now and now.get(name, 0) > self.kept.get(name, 0)]
        return f"blocks are not given back: {', '.join(more)}" if more else None

    def may_leave_out(self, kind):
        return self.command.leaves_out and kind in ("open", "stat", "read")

    def wrong_end(self, at, ended, said, kind, library):
        if ended.returncode < 0:
            return f"killed by {signal.Signals(-ended.returncode).name}"
        if ended.returncode not in (0, 2):
            return f"exit status {ended.returncode}"
        if ended.returncode == 2 and not SENTENCE.fullmatch(said):
            return "no sentence, or more than one"
        if ended.returncode == 0 and self.command.printed and not self.may_leave_out(kind) and ADVICE.sub(b"", ended.stdout) != self.output:
            return "ends well, and prints something else"
        excused = [".partial", "lock"] if kind == "stat" else ["lock"] if library in ENDING or said == ENDED or kind == "unlink" else []
        left = [path.relative_to(at.folder) for end in (".partial", "lock") if end not in excused
                for path in at.folder.rglob("*" + end)]
        return f"leaves {left[0]}" if left else None

    def wrong_files(self, at, done):
        try:
            now = self.files_of(at)
        except Exception as problem:  # of any kind: the file is not whole
            return f"a file is not whole: {problem}"
        if done and now != self.after:
            return "ends well, and leaves something else: " + ", ".join(
                name for name in self.command.files if now.get(name) != self.after.get(name))
        for name in self.before:
            if name not in now and not self.is_replaced(at, name, now):
                return f"{name} is lost"
        for name, known in now.items():
            if not name.endswith(".jsonl") and known not in self.states[name]:
                return f"{name} is what it never was"
        return None

    def is_replaced(self, at, name, now):
        """An earlier run waits in a folder of its own until the new one has saved a state."""
        last = now.get("run/last.safetensors")
        waits = [at.folder / "run" / folder / pathlib.Path(name).name for folder in ("replaced", "replaced.partial")]
        return any(path.exists() and known_whole(path) == self.before[name] for path in waits) or \
            last is not None and last != self.before.get("run/last.safetensors")

    def wrong_again(self, at):
        """What is wrong with what the command leaves when it is given again."""
        if self.command.again is None:
            changed = [path for path, data in self.run_before.items() if (at.folder / path).read_bytes() != data]
            return f"changes {changed[0]}" if changed else None
        state = repr((sorted(self.files_of(at).items()), sorted(path.relative_to(at.folder) for path in at.folder.rglob("*"))))
        if state not in self.again_of:
            self.again_of[state] = self.try_again(at)
        return self.again_of[state]

    def try_again(self, at):
        ended = self.run(at, self.command.again(at.folder), "none 1 once", "/dev/null")
        if ended.returncode != 0:
            return f"given again it ends with {ended.returncode}: {ended.stderr.decode(errors='replace').strip()}"
        now = self.files_of(at)
        other = [name for name in self.command.files if not self.is_end(name, now.get(name))]
        return f"given again it leaves another {other[0]}" if other else None

    def is_end(self, name, known):
        """A line that could not be written is missing in the log, and none is there twice."""
        if not name.endswith(".jsonl"):
            return known == self.after.get(name)
        rest = iter(self.after[name])
        return len(known) >= len(self.after[name]) - 1 and all(line in rest for line in known)


def chosen(events, kind, options):
    """The numbers, from 1, of those events of a kind that are to fail."""
    hashes = [hash_of_calls for of, hash_of_calls, _ in events if of == ("write" if kind == "short" else kind)]
    if options.all:
        return list(range(1, len(hashes) + 1)), len(hashes)
    first = {}
    for i, calls in enumerate(hashes):
        first.setdefault(calls, i + 1)
    numbers = sorted(first.values())
    if options.samples and len(numbers) > options.samples:
        numbers = [numbers[i * len(numbers) // options.samples] for i in range(options.samples)]
    return numbers, len(hashes)


def walk(case, kind, numbers, mode, error, pool, base):
    """Prints each kind of what is wrong once; how many were wrong."""
    of_thread, trunks = threading.local(), []

    def trunk():
        """This thread's, whose numbers come in order."""
        if kind == "memory" and not case.command.threads and not hasattr(of_thread, "trunk"):
            at = case.start.copy(base / f"{case.name}-{threading.get_ident()}")
            of_thread.trunk = experiment.Trunk(at, case.command.options)
            trunks.append(of_thread.trunk)
        return getattr(of_thread, "trunk", None)

    def one(number):
        folder = base / f"{case.name}-{number}"
        folder.mkdir()
        try:
            return (number, *case.wrong(folder, (kind, number, mode, error), trunk()))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    seen, count, reached, ends = collections.Counter(), 0, 0, collections.Counter()
    begin = said_at = time.monotonic()
    for done, (number, wrong, met, said) in enumerate(pool.map(one, numbers)):
        if time.monotonic() - said_at > 60:
            said_at = time.monotonic()
            left = (said_at - begin) / (done + 1) * (len(numbers) - done - 1)
            print(f"{case.name}: {done + 1} of {len(numbers)}, {left / 60:.0f} minutes left", flush=True)
        reached += met is not None
        ends[said.strip()] += 1
        if not wrong:
            continue
        count += 1
        seen[wrong] += 1
        if seen[wrong] <= 3:
            print(f"{case.name}: {kind} {number} {mode} {errno.errorcode[error]}, {met}: {wrong}\n    {said.strip()}",
                  flush=True)
    for server in trunks:
        server.close()
    print(f"{case.name}: {kind} {mode} {errno.errorcode[error]}: {len(numbers)} faults, {reached} reached, "
          f"{ends['']} without a sentence, {count} wrong", flush=True)
    for said, times in ends.most_common(6 if len(numbers) > 1000 else 0):
        print(f"    {times} times: {said[:150] or 'no sentence'}", flush=True)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("library")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--modes", default="once,on")
    parser.add_argument("--errors", default="EIO,ENOSPC,EDQUOT")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    program, library = (str(pathlib.Path(path).resolve()) for path in (options.train, options.library))
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="cotangent-faults-", dir=place) as folder, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        base = pathlib.Path(folder)
        for name in options.commands.split(","):
            case = Case(name, program, library, base)
            events = case.count(base / name)
            for kind in options.kinds.split(","):
                numbers, total = chosen(events, kind, options)
                errors = [errno.ENOMEM] if kind in ("memory", "mmap") else \
                    [getattr(errno, text) for text in options.errors.split(",")][:1 if kind == "short" else None]
                print(f"{name}: {kind}: {total}, of which {len(numbers)} fail in turn", flush=True)
                for mode in options.modes.split(",") if numbers else []:
                    for error in errors:
                        wrong += walk(case, kind, numbers, mode, error, pool, base)
            case.close()
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
