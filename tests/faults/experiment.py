# SPDX-License-Identifier: Apache-2.0
"""A tiny experiment for the programs of tests/faults, in a folder; and what is in its files."""
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess

MODEL = """[data]
folder = data
min_count = 1
[run]
folder = run
seed = 3
threads = 1
[image]
fc = linear width=6
gcn = gcn x 1
norm = l2norm
attend = policy_attention heads=2 actions=4
pool = mean + gru
bn = batchnorm
[text]
embed = words width=4
attend = policy_attention heads=2 actions=4
pool = gru width=6
bn = batchnorm
[loss]
retrieval = hinge margin=0.2 negatives=hardest
discrete_policy = 1
continuous_policy = 1
[train]
epochs = 2
batch = 8
lr = 0.01
log_every = 1
[evaluate]
batch = 8
"""
REGIONS, FEATURES = 2, 3
COLOURS, SHAPES = ["red", "green", "blue"], ["square", "star"]

# The same in every run: the program neither starts itself again nor makes threads of its own.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "300", "CT_CUDA_LIBRARY": "/nowhere/cuda.so",
               "LC_ALL": "C.UTF-8"}


def write_split(folder, name, images):
    """Image i shows colour i % 3 and shape i % 2, and has two captions that say so."""
    values = []
    for i in range(images):
        for region in range(REGIONS):
            values += [0.1 * ((7 * i + 3 * region + k) % 5) + (k == i % FEATURES) for k in range(FEATURES)]
    header = repr({"descr": "<f4", "fortran_order": False, "shape": (images, REGIONS, FEATURES)}).encode()
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"
    (folder / f"{name}_ims.npy").write_bytes(data + struct.pack(f"<{len(values)}f", *values))
    captions = "".join(f"a {COLOURS[i % 3]} {SHAPES[i % 2]}\nthe {SHAPES[i % 2]} is {COLOURS[i % 3]}\n"
                       for i in range(images))
    (folder / f"{name}_caps.txt").write_text(captions, encoding="utf-8")


class Experiment:
    """tiny.ini and data/ in a folder, in which `train` is run; with a library always with it, since it keeps the
    program from starting itself again with other kernels."""

    def __init__(self, program, library, folder):
        self.program, self.library, self.folder = str(program), library, pathlib.Path(folder)

    @classmethod
    def make(cls, program, library, folder):
        data = pathlib.Path(folder) / "data"
        data.mkdir(parents=True)
        for name, images in [("train", 4), ("dev", 3), ("test", 3)]:
            write_split(data, name, images)
        (data.parent / "tiny.ini").write_text(MODEL, encoding="utf-8")
        return cls(program, library, folder)

    def copy(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, symlinks=True)
        return Experiment(self.program, self.library, folder)

    def start(self, *options, **environment):
        """The process of `train tiny.ini OPTIONS`."""
        preloaded = {"LD_PRELOAD": self.library} if self.library else {}
        return subprocess.Popen([self.program, "tiny.ini", *options], cwd=self.folder, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**ENVIRONMENT, **preloaded, **environment})

    def run(self, *options, timeout=120, **environment):
        """The same, finished; TimeoutExpired where it hangs."""
        with self.start(*options, **environment) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def must(self, *options):
        ended = self.run(*options)
        if ended.returncode != 0:
            raise SystemExit(f"train {' '.join(options)}: status {ended.returncode}\n{ended.stderr.decode()}")
        return ended


def tensors(path):
    """A hash of the tensors of a safetensors file, without its metadata; an exception if it is not whole."""
    data = path.read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    if begin + max(entry["data_offsets"][1] for entry in header.values()) != len(data):
        raise ValueError(f"{path}: {len(data)} bytes are not those of its header")
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + data[begin:]).hexdigest()


def results(path):
    """results.json without what time and memory it took."""
    read = json.loads(path.read_bytes())
    return {key: value for key, value in read.items()
            if key not in ("wall_seconds", "train_seconds", "peak_memory_bytes", "versions")}


def metrics(path):
    """The lines of metrics.jsonl without speed."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "pairs_per_second"} for line in lines]
