#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Ranks on two hosts, network namespaces (benchmarks/hosts.py), when the network is slow, and when it is cut.

Needs $CT_TRAIN, the program, $CT_MPI_LIBRARY, $CT_RANKS_RUN, by which it runs ranks of this host, and root, to make
the hosts: skipped (77) without.
"""

from __future__ import annotations

import array
import contextlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "tests" / "tools")]

from hosts import Hosts  # noqa: E402
from tiny_run import configuration, write_data  # noqa: E402

TRAIN = os.environ.get("CT_TRAIN", "build/train")
RUN = os.environ.get("CT_RANKS_RUN", "tests/ranks/run")
SLOW = 120  # seconds that a loaded machine may take for what is done at once
PATIENCE = 5
# mpirun notices after 3 + 2 * 3 seconds that a host is gone, in place of 480
NOTICES = {"OMPI_MCA_oob_tcp_keepalive_time": "3", "OMPI_MCA_oob_tcp_keepalive_intvl": "2",
           "OMPI_MCA_oob_tcp_keepalive_probes": "3"}


def environment(patience: int) -> dict[str, str]:
    return {"CT_MPI_LIBRARY": os.environ["CT_MPI_LIBRARY"], "OMP_NUM_THREADS": "1", "CT_RANKS_PATIENCE": str(patience)}


def name_of(process: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def tensors(path: Path) -> dict[str, array.array]:
    """Those of f64 in a checkpoint."""
    data = path.read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    return {name: array.array("d", data[8 + length + entry["data_offsets"][0]:8 + length + entry["data_offsets"][1]])
            for name, entry in header.items() if entry["dtype"] == "F64"}


class RanksOnHosts(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        write_data(self.folder / "data")
        (self.folder / "tiny.ini").write_text(configuration(self.folder / "data", self.folder / "run"))

    def command(self, *more: str) -> list[str]:
        return [TRAIN, str(self.folder / "tiny.ini"), "--set", "run.dtype=f64", "--set", "train.optimizer=sgd", *more]

    def trains(self, *more: str, ranks: int = 1) -> None:
        result = subprocess.run([RUN, str(ranks), *self.command(*more)], capture_output=True, text=True, timeout=SLOW)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def cut_in_training(self, hosts: Hosts, settings: dict[str, str]) -> subprocess.Popen:
        """A training without end on all hosts, between which the network has just been cut."""
        saved = self.folder / "run" / "last.safetensors"
        process = hosts.mpirun(settings, self.command("--set", "train.epochs=1000000"))
        end = time.monotonic() + SLOW
        while not saved.exists():
            self.assertIsNone(process.poll(), "ended before it saved")
            self.assertLess(time.monotonic(), end, "nothing saved")
            time.sleep(0.1)
        hosts.cut()
        return process

    def goes_on(self) -> None:
        for ranks in (1, 4):
            self.trains("--set", "train.epochs=1000000", "--resume", "--steps", "2", ranks=ranks)

    def test_ranks_that_a_cut_network_parts_end_and_one_says_so(self) -> None:
        with Hosts(2, 0.0001, None) as hosts:
            process = self.cut_in_training(hosts, environment(PATIENCE))
            since = time.monotonic()
            while "train" in map(name_of, hosts.processes()):
                self.assertLess(time.monotonic() - since, SLOW, "a rank goes on waiting")
                time.sleep(0.1)
            self.assertGreaterEqual(time.monotonic() - since, PATIENCE - 1)
            process.send_signal(signal.SIGINT)  # else it waits for its daemon on the other host, as long as TCP does
            process.wait(timeout=SLOW)
        _, said = process.communicate()
        sentence = f"train: rank 0 on host0: other ranks have not answered for {PATIENCE} seconds (CT_RANKS_PATIENCE)"
        self.assertEqual(said.count("have not answered"), 1, said)
        self.assertIn(sentence, said)
        self.goes_on()

    def test_mpirun_notices_that_a_host_is_gone_and_ends_all(self) -> None:
        with Hosts(2, 0.0001, None) as hosts:
            process = self.cut_in_training(hosts, environment(SLOW) | NOTICES)
            _, said = process.communicate(timeout=SLOW)
            self.assertNotEqual(process.returncode, 0)
            self.assertIn("lost communication with a remote daemon", said)
            end = time.monotonic() + SLOW
            while hosts.processes():
                self.assertLess(time.monotonic(), end, "a process goes on")
                time.sleep(0.1)
        self.goes_on()

    def test_a_slow_network_is_none_that_is_cut(self) -> None:
        wide = ("--set", "image.fc=linear width=24", "--set", "text.pool=gru width=24", "--steps", "8")
        self.trains(*wide, "--set", f"run.folder={self.folder}/one")
        began = time.monotonic()
        with Hosts(2, 0.02, "1mbit", mtu=1500) as hosts:
            process = hosts.mpirun(environment(PATIENCE), self.command(*wide))
            said = process.communicate(timeout=SLOW)
            self.assertEqual(process.returncode, 0, said)
        self.assertGreater(time.monotonic() - began, 2 * PATIENCE)
        one, two = (tensors(self.folder / run / "last.safetensors") for run in ("one", "run"))
        self.assertEqual(one.keys(), two.keys())
        self.assertGreater(len(one), 20)
        for name, values in one.items():
            for a, b in zip(values, two[name], strict=True):
                self.assertTrue(math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9), name)


def cannot() -> str | None:
    """Why there can be no ranks on hosts here."""
    if "CT_MPI_LIBRARY" not in os.environ or not shutil.which("mpirun"):
        return "no MPI here"
    try:
        with Hosts(2, 0, "1gbit"):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no hosts can be made here: {getattr(error, 'stderr', None) or error}"


if __name__ == "__main__":
    why = cannot()
    if why:
        print(why)
        sys.exit(77)
    unittest.main()
