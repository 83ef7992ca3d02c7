# SPDX-License-Identifier: Apache-2.0
"""Network namespaces as hosts: each with an address of its own, between them links of a given delay and rate.

The kernel limits the rate (tc tbf on each host's interface). Delay is made here, as not every kernel has netem: each
host's interface is a TUN device, whose packets this process hands to the other host when their time has come. Packets are
large where nothing else is asked, so that it takes little of a processor. As root, on Linux with iproute2.
"""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
LARGE = 60000  # bytes of a packet
SUBNET = "10.77.0"


def sh(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Hosts:
    """`count` hosts with addresses SUBNET.1 and so on. rate: as tc writes it ("1gbit"); None: as fast as it goes."""

    def __init__(self, count: int, delay: float, rate: str | None, mtu: int = LARGE):
        self.delay = delay
        self.mtu = mtu
        self.names = [f"ct-rank-host-{i}" for i in range(count)]
        self.addresses = [f"{SUBNET}.{i + 1}" for i in range(count)]
        self.devices = [self._add(name, address, rate) for name, address in zip(self.names, self.addresses)]
        self.stopped = self.is_cut = False
        self.thread = threading.Thread(target=self._relay, daemon=True)
        self.thread.start()
        self.agent = self._write_agent()

    def _add(self, name: str, address: str, rate: str | None) -> int:
        subprocess.run(("ip", "netns", "del", name), capture_output=True)  # one left over by a killed run
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        interface = "ct" + address.rsplit(".", 1)[1]
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TUN | IFF_NO_PI))
        sh("ip", "netns", "add", name)
        sh("ip", "link", "set", interface, "netns", name)
        inside = ("ip", "netns", "exec", name)
        sh(*inside, "ip", "link", "set", "lo", "up")
        sh(*inside, "ip", "addr", "add", f"{address}/24", "dev", interface)
        sh(*inside, "ip", "link", "set", interface, "mtu", str(self.mtu), "txqueuelen", "1000", "up")
        if rate:
            sh(*inside, "tc", "qdisc", "add", "dev", interface, "root", "tbf", "rate", rate, "burst", str(2 * self.mtu),
               "latency", "2000ms")
        return device

    def _write_agent(self) -> str:
        """What mpirun calls in place of ssh: AGENT ADDRESS COMMAND..."""
        file, path = tempfile.mkstemp(prefix="ct-agent-")
        lines = ["#!/bin/sh", f"number=$((${{1#{SUBNET}.}} - 1)); shift",
                 'exec unshare --uts sh -c "hostname host$number; exec ip netns exec ct-rank-host-$number $*"']
        os.write(file, ("\n".join(lines) + "\n").encode())
        os.close(file)
        os.chmod(path, 0o700)
        return path

    def _relay(self) -> None:
        waiting = collections.deque()  # (when it is due, the packet): all wait equally long
        while not self.stopped:
            patience = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.1
            ready, _, _ = select.select(self.devices, [], [], patience)
            now = time.monotonic()
            for device in ready:
                packet = os.read(device, self.mtu + 100)
                if packet[0] >> 4 == 4 and not self.is_cut:
                    waiting.append((now + self.delay, packet))
            while waiting and waiting[0][0] <= now:
                self._deliver(waiting.popleft()[1])

    def _deliver(self, packet: bytes) -> None:
        to = packet[19] - 1  # the last byte of an IPv4 packet's destination
        if 0 <= to < len(self.devices):
            try:
                os.write(self.devices[to], packet)
            except OSError:
                pass  # an interface that is full loses a packet, as others do

    def mpirun(self, environment: dict[str, str], command: list[str]) -> subprocess.Popen:
        """A rank on each host."""
        settings = {"btl": "tcp,self", "btl_tcp_if_include": f"{SUBNET}.0/24", "oob_tcp_if_include": f"{SUBNET}.0/24",
                    "plm_rsh_agent": self.agent}
        words = ["mpirun", "--allow-run-as-root", "--host", ",".join(self.addresses), "-n", str(len(self.addresses)),
                 "--bind-to", "none"]
        for name, value in settings.items():
            words += ["--mca", name, value]
        for name in environment:
            words += ["-x", name]
        inside = ["unshare", "--uts", "sh", "-c", 'hostname host0; exec "$@"', "sh", "ip", "netns", "exec",
                  self.names[0], *words, *command]
        return subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env={**os.environ, **environment})

    def cut(self) -> None:
        """From now on nothing arrives: nobody is told."""
        self.is_cut = True

    def processes(self) -> list[int]:
        """Of all hosts."""
        return [int(line) for name in self.names for line in sh("ip", "netns", "pids", name).split()]

    def close(self) -> None:
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.stopped = True
        self.thread.join()
        for name, device in zip(self.names, self.devices):
            os.close(device)
            subprocess.run(("ip", "netns", "del", name), capture_output=True)
        Path(self.agent).unlink()

    def __enter__(self) -> Hosts:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
