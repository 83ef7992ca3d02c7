# SPDX-License-Identifier: Apache-2.0
"""Ratios, goals and a short table of the results of benchmarks/gpu."""

from __future__ import annotations

import statistics

Json = dict[str, object]
BATCHED = ("pytorch graph", "pytorch compiled", "pytorch autotuned")
LEAST_BYTES = 4e6  # a kernel that moves less takes as long as its launch


def spread(values: list[float]) -> Json:
    return {"median": statistics.median(values), "minimum": min(values), "maximum": max(values), "rounds": values}


def times(results: Json, name: str, what: str) -> list[float]:
    return [r[what] for r in results["programs"].get(name, {}).get("rounds", [])]


def fastest_batched(results: Json) -> str | None:
    """PyTorch as fast as it was made here."""
    found = {name: statistics.median(t) for name in BATCHED if (t := times(results, name, "step"))}
    return min(found, key=found.get) if found else None


def matrix_rate(results: Json) -> float | None:
    """FLOP/s of the best bf16 product in this run, ours or PyTorch's."""
    rates = [row["flops_per_second"] for row in results.get("kernels", {}).get("products", [])
             if row["precision"] == "bf16"]
    rates.append((results.get("pytorch_limits") or {}).get("bf16_flops", 0))
    return max(rates) or None


def peak(results: Json, name: str) -> float | None:
    """Bytes held at most: PyTorch's tensors alone took fewer."""
    memory = results["programs"].get(name, {}).get("memory") or {}
    return memory.get("reserved_bytes", memory.get("peak_bytes"))


def add_ratios(results: Json) -> None:
    """Medians and spreads of each program; ratios round by round; goals."""
    for found in results["programs"].values():
        for what in ("step", "forward"):
            if found["rounds"]:
                found[what] = spread([r[what] for r in found["rounds"]])
    batched, ratios = fastest_batched(results), {}
    results["fastest_batched"] = batched
    for ours in [n for n in results["programs"] if n.startswith("ours")]:
        for other in [n for n in results["programs"] if not n.startswith("ours")]:
            for what in ("step", "forward"):
                pairs = list(zip(times(results, ours, what), times(results, other, what)))
                if pairs:
                    ratios[f"{what}: {other} / {ours}"] = spread([b / a for a, b in pairs])
    results["ratios"] = ratios
    results["goals"] = [] if results["tiny"] else goals(results, batched)


def goal(name: str, least: float | None, most: float | None, measured: float | None) -> Json:
    met = None if measured is None else (least is None or measured >= least) and (most is None or measured <= most)
    return {"goal": name, "at_least": least, "at_most": most, "measured": measured, "met": met}


def goals(results: Json, batched: str | None) -> list[Json]:
    def ratio(other: str | None) -> float | None:
        found = results["ratios"].get(f"step: {other} / ours bf16")
        return found and found["median"]

    ours = results["programs"].get("ours bf16", {})
    rate, fraction, memory = matrix_rate(results), None, None
    if rate and "step" in ours:
        fraction = ours["ready"]["flops"] / ours["step"]["median"] / rate
    if batched and peak(results, "ours bf16") and peak(results, batched):
        memory = peak(results, "ours bf16") / peak(results, batched)
    moving = [k["of_copy"] for k in results.get("kernels", {}).get("kernels", [])
              if "of_copy" in k and k["bytes"] >= LEAST_BYTES]
    train = results.get("train")
    return [goal("step in bf16, times faster than PyTorch as released", 20, None, ratio("pytorch stepwise")),
            goal("step in bf16, times faster than the fastest PyTorch", 2, None, ratio(batched)),
            goal("arithmetic of the step, of the matrix rate", 0.5, None, fraction),
            goal("slowest traffic-bound kernel, of the copy bandwidth", 0.8, None, min(moving, default=None)),
            goal("peak memory, of the fastest PyTorch's", None, 0.5, memory),
            goal("recalls in bf16 within the spread of fp32's, of six", 6, None, train and train["within"])]


# ---- for people -------------------------------------------------------------------------------


def number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def milliseconds(found: Json, what: str) -> str:
    s = found.get(what)
    if not s:
        return f"{'-':>24}"
    return f"{1e3 * s['median']:9.2f} ({1e3 * s['minimum']:.2f}-{1e3 * s['maximum']:.2f})".rjust(24)


def program_lines(results: Json) -> list[str]:
    lines = [f"{'ms: median (least-most)':24}{'step':>24}{'forward':>24}{'evaluation':>12}{'peak MB':>10}"]
    for name, found in results["programs"].items():
        evaluation = (found.get("evaluate") or {}).get("seconds")
        middle = number(1e3 * statistics.median(evaluation)) if evaluation else "-"
        bytes_ = peak(results, name)
        lines.append(f"{name:24}{milliseconds(found, 'step')}{milliseconds(found, 'forward')}{middle:>12}"
                     f"{number(bytes_ and bytes_ / 1e6):>10}")
    return lines


def limit_lines(results: Json) -> list[str]:
    measured, theirs = results.get("kernels"), results.get("pytorch_limits") or {}
    if not measured:
        return []
    copy = max((row["bytes_per_second"] for row in measured["copy"]), default=0)
    lines = [f"copies: {copy / 1e9:.0f} GB/s, PyTorch's {theirs.get('copy_bytes_per_second', 0) / 1e9:.0f}"]
    for row in measured["products"]:
        size = "x".join(str(n) for n in row["size"])
        lines.append(f"  {row['precision']} {size:20}{row['flops_per_second'] / 1e12:10.1f} TFLOP/s")
    for row in measured.get("gru", []):
        cudnn = theirs.get(f"{row['precision']}_gru_seconds")
        lines.append(f"  {row['precision']} {'GRU over the regions':20}{row['flops_per_second'] / 1e12:10.1f} TFLOP/s"
                     f"{1e6 * row['median']:10.1f} us, cuDNN's {number(cudnn and 1e6 * cudnn)}")
    for row in measured["kernels"]:
        text = row.get("error") or (f"{1e6 * row['median']:10.1f} us {row['bytes_per_second'] / 1e9:8.0f} GB/s "
                                    f"{100 * row['of_copy']:6.1f}% of copies")
        lines.append(f"  {row['name']:36}{text}")
    return lines


def summary(results: Json) -> str:
    machine, suite = results.get("machine", {}), results.get("suite", {})
    lines = [f"{machine.get('ours')}; driver {machine.get('driver', '-')}, CUDA {machine.get('cuda', '-')}; "
             f"{results['date']}, {results['commit']}"]
    if suite:
        lines.append("suite gpu: " + ", ".join(f"{n} {what}" for what, n in suite.get("counts", {}).items()))
    lines += ["", f"{'goal':56}{'wanted':>10}{'measured':>10}"]
    for g in results.get("goals", []):
        wanted = f">= {g['at_least']}" if g["at_least"] is not None else f"<= {g['at_most']}"
        met = {None: "", True: "  met", False: "  missed"}[g["met"]]
        lines.append(f"{g['goal']:56}{wanted:>10}{number(g['measured']):>10}{met}")
    lines += ["", *program_lines(results), "", *limit_lines(results)]
    lines += [f"left out: {what}" for what in results["dropped"]]
    lines += [f"failed: {f['what']}: {f['why'].splitlines()[-1]}" for f in results["failures"] if f["why"]]
    return "\n".join(lines)
