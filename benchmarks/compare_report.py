# SPDX-License-Identifier: Apache-2.0
"""Medians, ratios and goals of the results of benchmarks/compare-pytorch, as text."""

from __future__ import annotations

import statistics

from compare_cases import ALL, BF16, CASES, COMPILED, EAGER, FEWER, OURS, RELEASED

Json = dict[str, object]

# case: at least so many times as fast as the fastest PyTorch, as the published structure; at least this fraction of
# the rate of products alone; at most this fraction of the memory of the fastest PyTorch
GOALS = {"bundled": (2.0, 6.0, 0.70, 1 / 3), "d256": (2.0, 5.0, 0.80, 1 / 2), "d1024": (1.5, 4.0, 0.90, 2 / 3),
         "evaluation": (None, 3.0, None, None)}


def merged(several: list[Json]) -> Json:
    """One of several runs on the same machine: their rounds one after another."""
    result: Json = {**several[0], "cases": {}, "left_out": [], "failures": []}
    for run, found in enumerate(several):
        for name, case in found["cases"].items():
            into = result["cases"].setdefault(name, {"programs": {}})
            for program, p in case["programs"].items():
                rounds = [{**r, "round": (run, r["round"])} for r in p["rounds"]]
                before = into["programs"].get(program)
                if before is None:
                    into["programs"][program] = {**p, "rounds": rounds}
                    continue
                before["rounds"] += rounds
                before["peak_bytes"] = max(before["peak_bytes"], p["peak_bytes"])
        result["left_out"] += found["left_out"]
        result["failures"] += found["failures"]
    return result


def rounds(case: Json, program: str) -> list[Json]:
    return case["programs"].get(program, {}).get("rounds", [])


def median(case: Json, program: str, what: str = "seconds") -> float | None:
    values = [r[what] for r in rounds(case, program)]
    return statistics.median(values) if values else None


def fastest(case: Json) -> str | None:
    """PyTorch as fast as it was made here."""
    found = {program: m for program in (EAGER, FEWER, COMPILED) if (m := median(case, program))}
    return min(found, key=found.get) if found else None


def ratios(case: Json, program: str | None) -> list[float]:
    """Its time over that of ours of the same precision, in each round that both took part in; ours in bf16 is set
    beside ours in fp32."""
    program = program or ""
    base = OURS + BF16 if program.endswith(BF16) and program != OURS + BF16 else OURS
    ours = {r["round"]: r["seconds"] for r in rounds(case, base)}
    return [r["seconds"] / ours[r["round"]] for r in rounds(case, program) if r["round"] in ours]


def of_products(case: Json) -> float | None:
    """Our rate over the whole step, of that of products of its width alone, round by round."""
    flops = case["programs"].get(OURS, {}).get("flops")
    found = [flops / r["seconds"] / r["products"] for r in rounds(case, OURS) if flops and r.get("products")]
    return statistics.median(found) if found else None


def of_memory(case: Json, program: str | None) -> float | None:
    ours, theirs = (case["programs"].get(p or "", {}).get("peak_bytes") for p in (OURS, program))
    return ours / theirs if ours and theirs else None


# ---- text -------------------------------------------------------------------------------------


def time_text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    unit, scale = ("s", 1) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * scale:.3g} {unit}"


def spread_text(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else "-"


def case_lines(name: str, case: Json) -> list[str]:
    lines = ["", f"{name}: {CASES[name].title}" if name in CASES else name,
             f"  {'':22}{'median':>10}{'least-most':>22}{'processor':>12}{'peak MB':>10}   times ours, round by round"]
    for program in (p for name in ALL for p in (name, name + BF16) if rounds(case, p)):
        seconds = [r["seconds"] for r in rounds(case, program)]
        spread = f"{time_text(min(seconds))} - {time_text(max(seconds))}"
        peak = case["programs"][program]["peak_bytes"] / 1e6
        row = (f"  {program:22}{time_text(median(case, program)):>10}{spread:>22}"
               f"{time_text(median(case, program, 'processor')):>12}{peak:10.0f}")
        of = " of fp32" if program == OURS + BF16 else " of bf16" if program.endswith(BF16) else ""
        lines.append(row if program == OURS else f"{row}   {spread_text(ratios(case, program))}{of}")
    flops, part = case["programs"].get(OURS, {}).get("flops"), of_products(case)
    if flops and part:
        rate, alone = flops / median(case, OURS) / 1e9, median(case, OURS, "products") / 1e9
        lines.append(f"  {flops / 1e9:.3g} GFLOP, ours {rate:.0f} GFLOP/s; products of that width alone {alone:.0f}: "
                     f"{100 * part:.0f}% round by round")
    return lines


def goal_lines(results: Json) -> list[str]:
    lines = ["", f"{'goal':60}{'wanted':>10}{'measured':>10}"]

    def line(text: str, wanted: float | None, measured: float | None, least: bool = True) -> None:
        if wanted is None or measured is None:
            return
        met = measured >= wanted if least else measured <= wanted
        sign = ">=" if least else "<="
        lines.append(f"{text:60}{f'{sign} {wanted:.2f}':>10}{measured:10.2f}  {'met' if met else 'missed'}")

    for name, (fast, released, part, memory) in GOALS.items():
        case = results["cases"].get(name)
        if not case:
            continue
        best = fastest(case)
        for text, wanted, values in ((f"times as fast as {best}", fast, ratios(case, best)),
                                     ("times as fast as the published structure", released, ratios(case, RELEASED))):
            line(f"{name}: {text}", wanted, statistics.median(values) if values else None)
        line(f"{name}: of the rate of products alone", part, of_products(case))
        line(f"{name}: peak memory, of that of {best}", memory, of_memory(case, best), least=False)
    return lines if len(lines) > 2 else []


def summary(results: Json) -> str:
    machine = results["machine"]
    lines = [f"{machine['processor']}, {machine['cores']} cores, {results['threads']} threads; {machine['ours']}; "
             f"PyTorch {machine['torch'] or 'is not here'}; {results['date']}, {results['commit']}"]
    for name, case in results["cases"].items():
        lines += case_lines(name, case)
    lines += goal_lines(results)
    lines += [f"left out: {what}" for what in results["left_out"]]
    lines += [f"failed: {f['what']}: {f['why'].splitlines()[-1]}" for f in results["failures"] if f["why"]]
    return "\n".join(lines)
