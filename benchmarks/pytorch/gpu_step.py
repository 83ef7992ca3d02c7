#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a PyTorch model of the published policy attention on a prepared folder, and answers with times.

    gpu_step.py FOLDER --how stepwise|eager|graph|compiled|autotuned [--precision bf16] [--width 2048 ...]

stepwise is the model as the released code is structured (stepwise.py, fp32), the others are batched.py: run operation
by operation, with the whole step captured as a CUDA graph, and so with all but the GRUs compiled, in the default mode
or, which takes minutes, with kernels that are chosen by timing them. One line of JSON is printed when it is ready,
then one for each line of standard input:

    step COUNT SAMPLES      seconds a step, of SAMPLES times COUNT steps: upload, forward, backward, clipping, Adam
    forward COUNT SAMPLES   the same of forward in training, losses included, without upload
    evaluate SAMPLES        seconds to embed and rank the split `test`
    memory                  bytes of tensors at most since the start of training, and reserved
    limits                  bytes/s of a large copy, FLOP/s of large products, seconds of a GRU
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Callable

import torch
from torch import Tensor, nn

import batched
import stepwise
from evaluation import evaluate_batched, evaluate_stepwise
from folder import HostBatch, Split, read_vocabulary, training_batches
from parts import Batch, Sizes

CLIP, RATE = 2.0, 2e-4


def wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], count: int, samples: int) -> list[float]:
    """A call's, of `count` calls and one wait for the device."""
    found = []
    for _ in range(samples):
        wait()
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        found.append((time.perf_counter() - start) / count)
    return found


class Trainer:
    """A model, its optimiser and batches on the host, used in turn."""

    def __init__(self, options: argparse.Namespace, sizes: Sizes, split: Split, device: torch.device) -> None:
        self.device, self.sizes, self.next = device, sizes, 0
        batches = training_batches(split, options.batch, options.batches, sizes.released, options.bucket)
        pin = device.type == "cuda"
        self.host = [HostBatch(*(x.pin_memory() if pin else x for x in vars(b).values())) for b in batches]
        self.table = torch.randn(sizes.vocabulary, sizes.words, device=device) * 0.3  # word vectors, fixed

    def next_host(self) -> HostBatch:
        self.next += 1
        return self.host[self.next % len(self.host)]


class Stepwise(Trainer):
    """As the released code trains: word vectors come from the loader, and the loss is read at each step."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.model = stepwise.Model(self.sizes).to(self.device)
        trained = [p for name, p in self.model.named_parameters() if "caption_model" not in name]
        self.parameters = trained if self.sizes.released else list(self.model.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=RATE)
        table = self.table.cpu()
        self.vectors = [table[host.ids] for host in self.host]
        if self.device.type == "cuda":
            self.vectors = [x.pin_memory() for x in self.vectors]

    def upload(self) -> Batch:
        host = self.next_host()
        vectors = self.vectors[self.next % len(self.host)]
        images, vectors, classes, labels, counts = (
            x.to(self.device) for x in (host.images, vectors, host.classes, host.labels, host.counts))
        return Batch(images, vectors, host.lengths, classes, labels, counts)

    def step(self) -> None:
        losses = self.model.losses(self.upload())
        self.optimiser.zero_grad()
        losses["total"].backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimiser.step()
        self.loss = losses["total"].item()

    def forward(self) -> Callable[[], object]:
        batch = self.upload()
        return lambda: self.model.losses(batch)

    def evaluate(self, split: Split) -> list[float]:
        return evaluate_stepwise(self.model, split, self.table)


class Batched(Trainer):
    """Graphs are captured for each padded length; uploads run ahead on a stream of their own."""

    def __init__(self, options: argparse.Namespace, *arguments) -> None:
        super().__init__(options, *arguments)
        cuda = self.device.type == "cuda"
        torch.backends.cuda.matmul.allow_tf32 = options.precision != "fp32"
        torch.backends.cudnn.allow_tf32 = options.precision != "fp32"
        self.bf16, self.graphs = options.precision == "bf16", {}
        self.model = batched.Model(self.sizes).to(self.device)
        self.gru = self.choose_gru(options.batch) if self.bf16 else options.precision
        if options.how in ("compiled", "autotuned"):
            self.model.compile_parts("default" if options.how == "compiled" else "max-autotune-no-cudagraphs")
        self.captures = cuda and options.how != "eager"
        self.parameters = list(self.model.parameters())
        self.optimiser = torch.optim.Adam(self.parameters, lr=RATE, fused=True, capturable=cuda)
        self.uploads = torch.cuda.Stream() if cuda else None
        self.ahead = self.upload()

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def choose_gru(self, size: int) -> str:
        """The fastest arithmetic for a GRU over 36 regions, forward and backward."""
        kind, calls = self.device.type, 3 if self.device.type == "cuda" else 1
        contexts = {"bf16": nullcontext, "tf32" if kind == "cuda" else "fp32": lambda: torch.autocast(kind, enabled=False)}
        if kind == "cuda":
            contexts["fp16"] = lambda: torch.autocast("cuda", torch.float16)
        x = torch.randn(size, 36, self.sizes.width, device=self.device)
        encoder, self.gru_times, self.gru_dtypes = self.model.img_enc, {}, {}

        def once() -> torch.dtype:
            with self.autocast():
                y = encoder.run_gru(encoder.rl_rnn, x)
            y.float().sum().backward()
            return y.dtype

        for name, context in contexts.items():
            self.model.use_gru_context(context)
            try:
                self.gru_dtypes[name] = str(once())  # autocast may choose another than it was asked for
                seconds(once, min(calls, 2), 1)
                self.gru_times[name] = statistics.median(seconds(once, calls, 3))
            except RuntimeError as error:
                self.gru_dtypes[name] = str(error)
        self.model.zero_grad()
        best = min(self.gru_times, key=self.gru_times.get)
        self.model.use_gru_context(contexts[best])
        return best

    def upload(self) -> HostBatch:
        host = self.next_host()
        with torch.cuda.stream(self.uploads) if self.uploads else nullcontext():
            return HostBatch(*(x.to(self.device, non_blocking=True) for x in vars(host).values()))

    def take(self) -> HostBatch:
        """The batch that was uploaded ahead; the next one is on its way."""
        if self.uploads:
            torch.cuda.current_stream().wait_stream(self.uploads)
        batch, self.ahead = self.ahead, None
        for x in vars(batch).values() if self.uploads else ():
            x.record_stream(torch.cuda.current_stream())
        self.ahead = self.upload()
        return batch

    def losses(self, b: HostBatch) -> dict[str, Tensor]:
        with self.autocast():
            return self.model.losses(Batch(b.images, self.table[b.ids], b.lengths, b.classes, b.labels, b.counts))

    def train(self, batch: HostBatch) -> Tensor:
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.losses(batch)["total"]
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimiser.step()
        return loss.detach()

    def captured(self, what: str, run: Callable[[HostBatch], object], batch: HostBatch
                 ) -> tuple[HostBatch, "torch.cuda.CUDAGraph", object]:
        """A graph of `run` for batches padded as this one: made after steps that compile and allocate."""
        key = (what, batch.ids.shape[1])
        if key not in self.graphs:
            fixed = HostBatch(*(x.clone() for x in vars(batch).values()))
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    run(fixed)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            self.optimiser.zero_grad(set_to_none=True)
            pool = next(iter(self.graphs.values()))[1].pool() if self.graphs else None
            with torch.cuda.graph(graph, pool=pool):
                result = run(fixed)
            self.graphs[key] = fixed, graph, result
        return self.graphs[key]

    def step(self) -> None:
        batch = self.take()
        if not self.captures:
            self.loss = self.train(batch)
            return
        fixed, graph, self.loss = self.captured("step", self.train, batch)
        for to, x in zip(vars(fixed).values(), vars(batch).values()):
            to.copy_(x)
        graph.replay()

    def forward(self) -> Callable[[], object]:
        batch = self.take()
        if not self.captures:
            return lambda: self.losses(batch)
        return self.captured("forward", lambda b: self.losses(b)["total"].detach(), batch)[1].replay

    def evaluate(self, split: Split) -> list[float]:
        with self.autocast(), torch.compiler.set_stance("force_eager"):  # compiled for other shapes
            return evaluate_batched(self.model, split, self.table)


def limits(device: torch.device, large: int) -> dict[str, float]:
    """Of PyTorch on this device: a copy of 256 MB, products of `large` square matrices, a GRU; the best of several."""
    x = torch.randn(64 << 20 if large > 1024 else 1 << 20, device=device)
    y = torch.empty_like(x)
    found = {"copy_bytes_per_second": 8 * x.numel() / min(seconds(lambda: y.copy_(x), 10, 5))}
    tf32 = torch.backends.cuda.matmul.allow_tf32
    for name, dtype, allow in (("fp32", torch.float32, False), ("tf32", torch.float32, True),
                               ("bf16", torch.bfloat16, True)):
        torch.backends.cuda.matmul.allow_tf32 = allow
        a, b = (torch.randn(large, large, device=device, dtype=dtype) for _ in range(2))
        seconds(lambda: a @ b, 2, 1)
        found[f"{name}_flops"] = 2 * large**3 / min(seconds(lambda: a @ b, 3, 5))
    torch.backends.cuda.matmul.allow_tf32 = tf32
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        found[f"{name}_gru_seconds"] = min(seconds(gru(device, dtype, large), 5, 5))
    return found


def gru(device: torch.device, dtype: torch.dtype, large: int) -> Callable[[], object]:
    """A call of a GRU over all regions, forward and backward, by cuDNN on CUDA: what "gru" of our kernels does."""
    batch, regions, width = (128, 36, 2048) if large > 1024 else (3, 2, 8)
    layer = torch.nn.GRU(width, width, batch_first=True, device=device, dtype=dtype)
    x = torch.randn(batch, regions, width, device=device, dtype=dtype, requires_grad=True)
    g = torch.randn_like(x)

    def call() -> object:
        return torch.autograd.grad(layer(x)[0], [x, *layer.parameters()], g)

    seconds(call, 2, 1)
    return call


def memory(device: torch.device) -> dict[str, int]:
    if device.type != "cuda":
        return {}
    return {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved()}


def answer(line: str, trainer: Trainer, test: Split, options: argparse.Namespace) -> dict[str, object]:
    what, *numbers = line.split()
    if what == "memory":
        return memory(trainer.device)
    if what == "limits":
        return limits(trainer.device, options.large)
    count, samples = ([1] + [int(n) for n in numbers])[-2:]
    if what == "evaluate":
        trainer.model.eval()
        with torch.no_grad():
            recalls: list[list[float]] = []
            found = seconds(lambda: recalls.append(trainer.evaluate(test)), 1, samples)
        trainer.model.train()
        return {"seconds": found, "recalls": recalls[-1]}
    run = {"step": lambda: trainer.step, "forward": trainer.forward}[what]()
    found = seconds(run, count, samples)
    return {"seconds": found, "loss": float(trainer.loss)}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--how", choices=("stepwise", "eager", "graph", "compiled", "autotuned"), required=True)
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="bf16", help="of the batched model")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--threads", type=int, help="of the CPU (default: as many as PyTorch chooses)")
    parser.add_argument("--paper", action="store_true", help="stepwise: compute what the paper says, over a batch's "
                        "own words, not what the released code does, over 87")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, default=6, help="kept on the host and used in turn")
    parser.add_argument("--warm-up", type=int, metavar="N", help="steps that do not count (default: each batch twice)")
    parser.add_argument("--bucket", type=int, default=16, help="captions are padded to a multiple of it")
    parser.add_argument("--large", type=int, default=8192, help="of the square products of `limits`")
    for field in dataclasses.fields(Sizes):
        if type(field.default) is int:
            parser.add_argument("--" + field.name.replace("_", "-"), type=int, default=field.default)
    parser.add_argument("--first-norm", action="store_true", help="l2norm behind the first layer: COCO")
    parser.add_argument("--fewer-products", action="store_true", help="of the batched model: graph convolutions of "
                        "layers that were multiplied with each other")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    device = torch.device(options.device)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    released = options.how == "stepwise" and not options.paper
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Sizes) if field.name in options}
    sizes = Sizes(**given, released=released)
    words = read_vocabulary(options.folder)
    train, test = (Split(options.folder, name, words) for name in ("train", "test"))
    trainer = (Stepwise if options.how == "stepwise" else Batched)(options, sizes, train, device)
    for _ in range(2 * len(trainer.host) if options.warm_up is None else options.warm_up):  # all padded lengths are seen
        trainer.step()
    wait()
    ready = {"ready": True, "torch": torch.__version__, "cuda": torch.version.cuda, "parameters":
             sum(p.numel() for p in trainer.parameters), "gru": getattr(trainer, "gru", "fp32"),
             "gru_seconds": getattr(trainer, "gru_times", None), "gru_dtypes": getattr(trainer, "gru_dtypes", None),
             "words": [b.ids.shape[1] for b in trainer.host]}
    if device.type == "cuda":
        ready |= {"cudnn": torch.backends.cudnn.version(), "device": torch.cuda.get_device_name()}
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(line, trainer, test, options)), flush=True)


if __name__ == "__main__":
    main()
