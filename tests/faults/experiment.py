# SPDX-License-Identifier: Apache-2.0
"""A tiny experiment for the programs of tests/faults, in a folder; and what is in its files."""
import base64
import fcntl
import hashlib
import json
import os
import pathlib
import select
import shutil
import signal
import struct
import subprocess
import time
import zlib

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
# What begins [image] where it is of pictures.
PICTURES = """pixels = pictures size=8 fit=stretch
conv = conv2d width=6 kernel=3 stride=4
places = regions
pool = mean
bn = batchnorm
"""
REGIONS, FEATURES = 2, 3
# 9 x 7 pixels.
JPEG = ("/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBkeFxlZ2P/2wBD"
        "ARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2P/wAARCAAHAAkDASIAAhEBAxEB/8QAHwAAAQUB"
        "AQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJico"
        "KSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ"
        "2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMi"
        "MoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOk"
        "paanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwBkUduSrQFBsYqFClPmz90Y6HCjuBzyTS/2Nf8A"
        "z6v/AN/Yv/iaKK8yrjZU3aMV93/BK+ymf//Z")
WEBP = ("UklGRnIAAABXRUJQVlA4IGYAAADQAQCdASoJAAcAAsBMJbACdADdszKyxAD9titBxIqCGIn4+gS2M+IsIe70f4QV/g/+Mgl1KVEBSfyNsNP1lFaJaNue4h/p"
        "MyWbtpEr9b/78XaMNrM2j/Nl/oVfcxQCYf6P9wd3QAA=")
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


def png(image):
    """5 x 4 pixels of an image's colour, of 8 bits and with transparency."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    row = b"\0" + bytes([250 * (k == image % 3) for k in range(3)] + [200]) * 5
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 4, 8, 6, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b""))


def write_pictures(folder, name, images):
    """Of write_split's images, one in each format, and one that is none."""
    pictures = [(".png", png(i)) for i in range(images)]
    pictures[1:3] = [(".jpg", base64.b64decode(JPEG)), (".webp", base64.b64decode(WEBP))]
    if name == "train":
        pictures[3] = (".png", b"none")
    for i, (end, data) in enumerate(pictures):
        (folder / f"{name}{i}{end}").write_bytes(data)
    (folder / f"{name}_pictures.txt").write_text("".join(f"{name}{i}{end}\n" for i, (end, _) in enumerate(pictures)),
                                                 encoding="utf-8")


class Experiment:
    """tiny.ini and data/, and the same of pictures, in a folder, in which `train` is run; with a library always with it, since it keeps the
    program from starting itself again with other kernels."""

    def __init__(self, program, library, folder, config="tiny.ini"):
        self.program, self.library, self.folder, self.config = str(program), library, pathlib.Path(folder), config

    @classmethod
    def make(cls, program, library, folder, config="tiny.ini"):
        data, pictures = (pathlib.Path(folder) / name for name in ("data", "pictures"))
        data.mkdir(parents=True)
        pictures.mkdir()
        for name, images in [("train", 5), ("dev", 3), ("test", 3)]:
            write_split(data, name, images - (name == "train"))
            write_split(pictures, name, images)
            (pictures / f"{name}_ims.npy").unlink()
            write_pictures(pictures, name, images)
        (data.parent / "tiny.ini").write_text(MODEL, encoding="utf-8")
        begin, end = MODEL.index("fc ="), MODEL.index("[text]")
        text = (MODEL[:begin] + PICTURES + MODEL[end:]).replace("folder = data", "folder = pictures\nbroken_pictures = skip", 1)
        text = text.replace("discrete_policy = 1\ncontinuous_policy = 1\n", "").replace("attend = policy_attention heads=2 actions=4\n", "")
        (data.parent / "pictures.ini").write_text(text, encoding="utf-8")
        return cls(program, library, folder, config)

    def copy(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, symlinks=True)
        return self.at(folder)

    def at(self, folder):
        return Experiment(self.program, self.library, folder, self.config)

    def start(self, *options, **environment):
        """The process of `train CONFIG OPTIONS`."""
        preloaded = {"LD_PRELOAD": self.library} if self.library else {}
        return subprocess.Popen([self.program, self.config, *options], cwd=self.folder, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**ENVIRONMENT, **preloaded, **environment})

    def run(self, *options, timeout=600, **environment):
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


class Server:
    """Runs `train CONFIG OPTIONS` again and again, each with a fault (tests/faults/faults.h)."""

    def __init__(self, experiment, options, kind="each", **files):
        commands, self.write = os.pipe()
        self.read, replies = os.pipe()

        def connect():
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, replies)]  # neither is 3 or 4 already
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
        self.arguments = [experiment.program, experiment.config, *options]
        self.process = subprocess.Popen(
            self.arguments, stdin=subprocess.DEVNULL, preexec_fn=connect, close_fds=False, cwd=experiment.folder, **files,
            env={**ENVIRONMENT, "LD_PRELOAD": experiment.library, "CT_FAULT_SERVER": kind})
        os.close(commands)
        os.close(replies)
        self.rest = b""

    def close(self):
        os.close(self.write)
        self.process.wait()
        os.close(self.read)

    def fail(self):
        raise SystemExit(f"{' '.join(self.arguments)} serves no longer: {self.process.wait()}")

    def number(self, timeout):
        """The one on the next line that comes; None where none does."""
        end = time.monotonic() + timeout
        while b"\n" not in self.rest:
            if not select.select([self.read], [], [], max(0, end - time.monotonic()))[0]:
                return None
            part = os.read(self.read, 4096)
            if not part:
                self.fail()
            self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return int(line)

    def send(self, line):
        try:
            os.write(self.write, line.encode() + b"\n")
        except BrokenPipeError:
            self.fail()

    def run(self, at, fault, log, timeout=300):
        """As Experiment.run, in the folder of the experiment `at`."""
        out, err = outputs(at.folder)
        self.send("\t".join(map(str, (at.folder, log, out, err, fault))))
        self.prepare(at, timeout)
        process = self.number(timeout)
        status = self.number(timeout)
        if status is None:
            os.kill(process, signal.SIGKILL)
            self.number(timeout)
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        return subprocess.CompletedProcess(self.arguments, os.waitstatus_to_exitcode(status), out.read_bytes(),
                                           err.read_bytes())

    def prepare(self, at, timeout):
        pass


class Trunk(Server):
    """Runs it once, in a folder of its own; others, each with an allocation that fails, branch off there, in that order."""

    def __init__(self, experiment, options):
        self.folder = experiment.folder
        self.files = [path.open("wb") for path in outputs(self.folder)]
        super().__init__(experiment, options, "trunk", stdout=self.files[0], stderr=self.files[1])

    def close(self):
        super().close()
        for file in self.files:
            file.close()

    def prepare(self, at, timeout):
        """Makes `at` what it is in the midst of the run; EOFError where that was over before."""
        number = self.number(timeout)
        if number is None:
            raise subprocess.TimeoutExpired(self.arguments, timeout)
        if number == 0:
            raise EOFError
        shutil.copytree(self.folder, at.folder, symlinks=True)
        for mine, its in zip(outputs(self.folder), outputs(at.folder)):
            shutil.copyfile(mine, its)
        self.send("")


def outputs(folder):
    return [folder.with_name(folder.name + end) for end in (".out", ".err")]


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
