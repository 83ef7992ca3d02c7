# SPDX-License-Identifier: Apache-2.0
"""What benchmarks/compare-pytorch runs: made-up data, cases, and the command of each program of a case."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTORCH = ROOT / "benchmarks" / "pytorch"

OURS, EAGER, FEWER, COMPILED, RELEASED = "ours", "PyTorch", "PyTorch, fewer", "PyTorch compiled", "as released"
BF16 = " bf16"  # behind the name of a program whose products are in bf16
BATCHES = 3
HOW = {EAGER: "eager", FEWER: "eager", COMPILED: "compiled", RELEASED: "stepwise"}

# Folders that data/make_synthetic.py makes. Every image has features: those of holes would be read from nowhere.
FOLDERS = {
    "emoji": ["--like", "emoji", "--fill", "2461"],
    "flickr30k": ["--like", "flickr30k", "--images", "1000", "--fill", "1000", "--glove", "20000", "300"],
}


@dataclass(frozen=True)
class Case:
    """`command` is what is asked; `seconds` are to be enough on two cores, starting included."""

    title: str
    programs: tuple[str, ...]
    seconds: float
    folder: str | None = None
    config: str = "configs/f30k_policy.ini"
    settings: tuple[str, ...] = ()  # of ours
    sizes: tuple[str, ...] = ()  # of PyTorch's, the same
    command: str = "step"
    warm_up: int = 3  # steps that do not count


def of_width(title: str, width: int, **more) -> Case:
    """The published model and data with another width of the embeddings."""
    return Case(title, folder="flickr30k", sizes=("--width", str(width)), settings=(
        f"image.fc=linear width={width}", "loss.instance=classifier hidden=512 classes=29000"), **more)


ALL = (OURS, EAGER, FEWER, COMPILED, RELEASED)
CASES = {
    "bundled": Case("step, sizes of the bundled data (D=128, A=50)", ALL, 110, folder="emoji",
                    config="configs/emoji_policy.ini",
                    settings=("loss.retrieval=hinge margin=0.2 negatives=hardest intra_modal=yes",),
                    sizes=("--features", "61", "--width", "128", "--words", "128", "--actions", "50", "--vocabulary",
                           "2576", "--classes", "2461", "--hidden", "128", "--decoder-width", "64", "--decoder-hidden",
                           "64", "--decoder-layers", "2", "--decoder-kernel", "3", "--first-norm")),
    "d256": of_width("step, published sizes with D=256", 256, programs=ALL, seconds=160, warm_up=2),
    "d1024": of_width("step, published sizes with D=1024", 1024, programs=ALL, seconds=240, warm_up=1),
    "evaluation": of_width("1,000 images x 5,000 captions embedded and ranked, D=1024", 1024,
                           programs=(OURS, EAGER, FEWER, RELEASED), seconds=110, command="evaluate", warm_up=0),
    "gru": Case("GRU alone, 1024 wide over 128 x 36, forward and backward", (OURS, EAGER, COMPILED), 30),
    "mlp": Case("MLP of 4 small layers, 64 rows, a step of Adam", (OURS, EAGER, COMPILED), 20),
}
QUICK = ("bundled", "gru", "mlp")


def plain(program: str) -> str:
    return program.removesuffix(BF16)


def precision(program: str) -> str:
    return "bf16" if program.endswith(BF16) else "fp32"


def programs(case: Case, precisions: list[str]) -> list[str]:
    """In the order in which they are asked. In bf16 there are steps and evaluations of the model alone, not of the
    released code, whose model is fp32."""
    named = {"fp32": case.programs,
             "bf16": [p + BF16 for p in case.programs if p != RELEASED] if case.folder else []}
    return sorted((p for name in set(precisions) for p in named[name]), key=lambda p: (ALL.index(plain(p)), p))


def data_command(folder: str, out: Path) -> list[str]:
    return [sys.executable, str(ROOT / "data" / "make_synthetic.py"), *FOLDERS[folder], str(out)]


def our_command(name: str, case: Case, program: str, build: Path, data: Path, threads: int) -> list[str]:
    programs = build.resolve() / "benchmarks"
    if not case.folder:
        return [str(programs / "layers"), name, str(threads)]
    folder = data / case.folder
    settings = [f"data.folder={folder}", f"data.vocabulary={folder}/vocabulary.json", "data.test_splits=test",
                f"run.threads={threads}", f"run.precision={precision(program)}", *case.settings]
    if case.folder == "flickr30k":
        settings += ["data.ids=rows", "data.images_repeated=1", f"text.embed=words vectors={folder}/glove.txt"]
    return [str(programs / "gpu_step"), case.config, "--warm-up", str(case.warm_up),
            *(word for setting in settings for word in ("--set", setting))]


def their_command(name: str, case: Case, program: str, data: Path, threads: int) -> list[str]:
    """Batches, three in turn, are padded to their longest caption; compiled code, made for each length anew, to a
    multiple of 8. The released code pads all alike."""
    how = plain(program)
    if not case.folder:
        return [sys.executable, str(PYTORCH / "layers.py"), name, HOW[how], str(threads)]
    warm_up = {COMPILED: BATCHES, RELEASED: min(case.warm_up, 1)}.get(how, case.warm_up)
    return [sys.executable, str(PYTORCH / "gpu_step.py"), str(data / case.folder), "--how", HOW[how],
            "--device", "cpu", "--precision", precision(program), "--threads", str(threads), "--batches", str(BATCHES),
            "--warm-up", str(warm_up), "--bucket", "8" if how == COMPILED else "1", *case.sizes,
            *(["--fewer-products"] if how == FEWER else [])]
