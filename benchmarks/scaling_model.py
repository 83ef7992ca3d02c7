# SPDX-License-Identifier: Apache-2.0
"""The model of a step's time over ranks (docs/scaling.md): from measured compute, latency and bandwidth.

A step is compute, collectives that it waits for, and gradients, which go while backward computes:

    step = compute + collectives + max(0, gradients - hidden)

A collective in R rounds takes R latencies and its bytes over the bandwidth.
"""

from __future__ import annotations

from dataclasses import dataclass

Json = dict[str, object]
BUCKET = 1 << 20  # bytes
IN_BACKWARD = 0.8  # of backward, that is behind the first full bucket
# Of the benchmark's step: embeddings gathered and scattered (2 each); statistics of 4 batch norms; their sums in backward,
# in two halves each; who has a gradient.
COLLECTIVES = 2 + 2 + 4 + 2 * 4 + 1
HANDSHAKES = 6  # latencies of a bucket: an exchange and a gathering, each asked for, allowed and sent


def step(free: Json, row: Json, latency: float, bits: float, hidden: bool) -> float:
    """Of two hosts, `free` measured without a limit. Seconds."""
    rate = bits / 8
    gradient_bytes = float(row["parameters"]) * (2 if row["wire"] == "bf16" else 4)  # 2 (N-1)/N of them, N = 2
    others = float(row["sent"]) - gradient_bytes
    collectives = COLLECTIVES * latency + others / rate
    gradients = HANDSHAKES * latency + gradient_bytes / rate
    if hidden:
        last = HANDSHAKES * latency + min(gradient_bytes, BUCKET) / rate
        gradients = max(last, gradients - IN_BACKWARD * float(free["backward"]))
    return float(free["step"]) + collectives + gradients


# ---- many GPUs: a prediction --------------------------------------------------------------------


@dataclass
class Model:
    """At its published size: configs/coco_policy.ini (benchmarks/README.md says its work)."""

    flops: float = 3.85e12 / 128  # a pair, forward and backward
    parameters: float = 171.9e6
    width: float = 2048


@dataclass
class Machine:
    """Assumed, not measured."""

    flops: float = 300e12  # a second of one GPU: 30% of an H100's dense bf16
    inside: float = 350e9  # bytes a second that a GPU sends by NVLink to those of its host, as NCCL reaches it
    between: float = 45e9  # and to other hosts: a 400 Gbit/s adapter each
    latency_inside: float = 15e-6  # of a collective
    latency_between: float = 10e-6  # for each doubling of the hosts, on top
    gpus_a_host: int = 8


def gpu_step(model: Model, machine: Machine, gpus: int, pairs: int, wire: int, local: bool) -> dict[str, float]:
    """Seconds of a step's parts, with so many pairs a GPU and so many bytes a gradient's number."""
    hosts = max(1, gpus // machine.gpus_a_host)
    rate = machine.inside if hosts == 1 else machine.between
    latency = machine.latency_inside + machine.latency_between * (hosts - 1).bit_length()
    share, batch = (gpus - 1) / gpus, gpus * pairs
    compute = pairs * model.flops / machine.flops
    similarities = 2 * batch * pairs if local else batch * batch  # that a rank computes
    bytes_gathered = 2 * 2 * share * batch * model.width * 4  # embeddings, and their gradients scattered
    gradients = 2 * share * model.parameters * wire / rate + 2 * latency
    tail = 2 * latency + BUCKET / rate
    return {"compute": compute, "ranking": 3 * 2 * similarities * model.width / machine.flops,
            "embeddings": bytes_gathered / rate, "latency": COLLECTIVES * latency, "gradients": gradients,
            "exposed": max(tail, gradients - IN_BACKWARD * 2 / 3 * compute)}


def prediction() -> str:
    lines = [f"{'GPUs':>5}{'pairs':>8}{'wire':>6}{'rows':>7}" + "".join(f"{name:>12}" for name in (
        "compute ms", "ranking", "embeddings", "latency", "gradients", "exposed", "step ms", "efficiency"))]
    for gpus in (8, 64, 512):
        for wire, local in ((4, False), (4, True), (2, True)):
            parts = gpu_step(Model(), Machine(), gpus, 128, wire, local)
            whole = sum(parts.values()) - parts["gradients"]  # of which only the exposed part is waited for
            numbers = [*parts.values(), whole]
            lines.append(f"{gpus:5}{128 * gpus:8}{'f32' if wire == 4 else 'bf16':>6}{'own' if local else 'all':>7}" +
                         "".join(f"{1e3 * number:12.2f}" for number in numbers) + f"{parts['compute'] / whole:12.2f}")
    return "\n".join(lines)
