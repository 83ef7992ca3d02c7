#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Files that the programs of tests/fuzz begin with, valid ones of every kind that their readers know.

    tests/fuzz/seeds.py FOLDER     writes FOLDER/READER/NAME
"""
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def npy(descr, shape, data, version=1):
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + b"\n" + data


def safetensors(tensors, metadata=None):
    """tensors: {name: (dtype, shape, data)}."""
    header = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def f32(*values):
    return struct.pack(f"<{len(values)}f", *values)


def i64(*values):
    return struct.pack(f"<{len(values)}q", *values)


def golden(name):
    """{name: bytes} of the tensors of a file of tests/golden/."""
    data = (ROOT / "tests" / "golden" / f"{name}.safetensors").read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:begin])
    header.pop("__metadata__", None)
    return {key: data[begin + entry["data_offsets"][0]:begin + entry["data_offsets"][1]]
            for key, entry in header.items()}


def npy_seeds():
    yield "f32", npy("<f4", (2, 3), f32(*range(6)))
    yield "f64", npy("<f8", (1,), struct.pack("<d", 1.5), 2)
    yield "u8", npy("|u1", (), b"\x07", 3)
    yield "empty", npy("<i8", (0, 4), b"")


def safetensors_seeds():
    yield "two", safetensors({"a": ("F32", [2], f32(1, 2)), "b": ("U8", [3], b"abc")}, {"version": "1"})
    yield "kinds", safetensors({"a": ("F64", [1, 1], bytes(8)), "b": ("BF16", [2], bytes(4)),
                                "c": ("BOOL", [0], b""), "d": ("I64", [], bytes(8))})
    yield "none", safetensors({})


def vocabulary_seeds():
    words = ["<pad>", "<start>", "<end>", "<unk>", "a", "m\u00fcll"]
    ids = {word: i for i, word in enumerate(words)}
    yield "plain", json.dumps({"word2idx": ids}).encode()
    yield "both", json.dumps({"word2idx": ids, "idx2word": dict(enumerate(words)), "idx": len(words)},
                             ensure_ascii=False, indent=1).encode()


def configuration_seeds():
    yield "least", b"[data]\nfolder = data\n"
    yield "quoted", (b'\xef\xbb\xbf# a comment\r\n[data]\r\nfolder: "a ; b" ; another\r\n[train]\r\n'
                     b'lr = 1e-3\r\nlr_factors = image.fc:0.1, text:2\r\n')
    for name in ["emoji_policy", "emoji_vsrn", "emoji_vsepp", "emoji_pixels", "coco_policy"]:
        yield name, (ROOT / "configs" / f"{name}.ini").read_bytes()
    yield "released", (ROOT / "tests" / "golden" / "dcpg_step_f30k.ini").read_bytes()


def captions_seeds():
    yield "one_an_image", b"A man, in a hat.\nTwo dogs can't wait!\n"
    yield "two_an_image", "\ufeffa man\r\nIsn't it 3.5%?\r\n\"\u00c4ngste\" (so-called) & 'x'...\r\ndon't\r\n".encode()
    cases = json.loads((ROOT / "tests" / "golden" / "tokenize.json").read_text(encoding="utf-8"))
    texts = [case["text"] for case in cases if case["text"].strip() and case["tokens"]
             and not set(case["text"]) & set("\n\r\0")]
    yield "recorded", "".join(text + "\n" for text in texts[:len(texts) // 2 * 2]).encode()


def ids_seeds():
    yield "rows", b"0\n1\n1\n"
    yield "spaces", b" 1\r\n+0 \r\n0\t"


def word_vectors_seeds():
    yield "glove", b"a 1 2.5\nman -1e-3 0\nthe of 1 2\n"
    yield "header", b"3 2\n, .5 1\n7 2 3 4\n1 3 4\n\xff 1 2\n. 1 2 \n"


def pictures_seeds():
    for name, data in golden("pictures").items():
        if name.startswith("file."):
            yield name[len("file."):], data


def recorded_seeds():
    batch = {"in.images": ("F32", [2, 2, 2], f32(*range(8))), "in.lengths": ("I64", [2], i64(3, 3)),
             "in.captions": ("I64", [2, 3], i64(1, 4, 2, 1, 5, 2)), "in.idx": ("I64", [2], i64(0, 2))}
    metadata = {"V": "6", "num_classes": "3"}
    yield "one", safetensors(batch, metadata)
    noise = {"noise.txt_enc.z1": ("F32", [1, 2, 2], f32(*range(4)))}
    steps = {f"step{step}.{name}": tensor for step in (1, 2) for name, tensor in {**batch, **noise}.items()}
    yield "two", safetensors(steps, metadata)
    decoder = {"in.caption_labels": ("I64", [2, 2], i64(4, 2, 5, 2)),
               "in.caption_masks": ("F32", [2, 2], f32(1, 1, 1, 1)),
               "in.language": ("F32", [2, 3, 2], f32(*range(12)))}
    yield "vectors", safetensors({**batch, **decoder}, metadata)


def training_seeds():
    state = {"model.weight": ("F32", [3, 2], f32(*range(6))), "model.bias": ("F32", [3], f32(0, 1, 2))}
    metadata = {"format": "cotangent checkpoint 1", "optimizer": "saved", "rng": "1 2 3", "number.step": "4",
                "number.best": "0.5"}
    yield "begun", safetensors(state, metadata)
    moments = {"optimizer.exp_avg.weight": ("F32", [3, 2], f32(*range(6))),
               "optimizer.exp_avg_sq.weight": ("F32", [3, 2], f32(*range(6))),
               "optimizer.step.weight": ("I64", [], i64(4))}
    yield "stepped", safetensors({**state, **moments}, metadata)


def metrics_seeds():
    recalls = {"r1": 1.5, "r5": 20, "r10": 50, "medr": 7, "meanr": 9.5}
    lines = [{"step": 1, "epoch": 0, "loss": 2.5, "lr": 1e-3, "grad_norm": 3, "own": 1},
             {"step": 2, "epoch": 0, "loss": 2, "terms": {"retrieval": 1.5}, "lr": 1e-3, "seconds": 1},
             {"step": 2, "dev": {"i2t": recalls, "t2i": recalls, "rsum": 143}, "best": True}]
    yield "lines", "".join(json.dumps(line) + "\n" for line in lines).encode()
    yield "cut", b'{"step":1,"loss":1}\n{"st'
    yield "ends", b"".join(b'{"step":%s,"loss":%s,"lr":%s,"grad_norm":%s}\n' % line for line in (
        (b"1", b"1", b"-1.5e308", b"1e-320"), (b"1.7e308", b"1.7e308", b"1.5e308", b"2"), (b"1.75e308", b"3", b"0", b"5e-324")))


def results_seeds():
    recalls = {"r1": 1.5, "r5": 20, "r10": 50, "medr": 7, "meanr": 9.5}
    split = {"i2t": recalls, "t2i": recalls, "rsum": 143, "images": 10, "captions": 50}
    yield "all", json.dumps({"test": split, "dev": split, "seed": 1, "best_epoch": 2, "best_step": 4, "steps": 8,
                             "parameters": 100, "interrupted": False, "wall_seconds": 1.5, "train_seconds": 1.25,
                             "peak_memory_bytes": 1e9, "versions": {"cotangent": "0.1.0", "compiler": "12",
                                                                    "machine": "x"}, "config": ""}).encode()
    yield "none", b"{}"
    yield "ends", b'{"parameters":1e300,"steps":-1e300,"train_seconds":1e300,"peak_memory_bytes":1.7e308,"versions":{}}'


def index_seeds():
    def index(tensors, splits, measure="cosine"):
        return safetensors(tensors, {"cotangent.index": "1", "cotangent.model": "0123456789abcdef",
                                     "cotangent.measure": measure, "cotangent.splits": splits})
    rows = {"0.images": ("F16", [2, 2], bytes(8)), "0.captions": ("F16", [3, 2], bytes(12)),
            "0.image_of": ("I64", [3], i64(0, 0, 1)), "0.caption_text": ("U8", [12], b"a\nb b\nc\xc3\xa9 d\n")}
    yield "captions", index(rows, "test")
    pictures = {"1.images": ("F16", [1, 2], bytes(4)), "1.picture_text": ("U8", [8], b"a/b.png\n")}
    yield "two", index({**rows, **pictures}, "test\npictures")


def judgments_seeds():
    yield "both", json.dumps({"name": "made up", "image_to_text": {"0": [0, 1], "2": [5]},
                              "text_to_image": {"3": [1], "0": [2, 0, 1]}}).encode()
    yield "one", b'{"name": "\xc3\xa9", "text_to_image": {"1": [0]}}'


def checksum(data):
    """TFRecord's: CRC-32C, masked."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    crc ^= 0xffffffff
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff)


def record(event):
    length = struct.pack("<Q", len(event))
    return length + checksum(length) + event + checksum(event)


def events_seeds():
    version = b"\x09" + bytes(8) + b"\x1a\x0dbrain.Event:2"
    loss = b"\x0a\x04loss\x15" + f32(1.5)
    summary = b"\x0a" + bytes([len(loss)]) + loss
    step = b"\x09" + bytes(8) + b"\x10\x01\x2a" + bytes([len(summary)]) + summary
    yield "step", record(version) + record(step)
    yield "later", record(version) + record(step.replace(b"\x10\x01", b"\x10\x63"))


def requests_seeds():
    get = "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: {}\r\n\r\n"
    for name, path in [("about", "/api/about"), ("search", "/api/search?q=a+red%20star+no&top=2"), ("page", "/"),
                       ("image", "/api/images/1"), ("picture", "/pictures/0?side=16")]:
        yield name, get.format(path, "close").encode()
    yield "several", (get.format("/pictures/1", "keep-alive") + get.format("/api/search?q=blue", "close")).encode()
    data = golden("pictures")["file.plain1.png"]
    yield "post", (f"POST /api/search-image?top=1 HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Type: image/png\r\n"
                   f"Content-Length: {len(data)}\r\n\r\n").encode() + data


READERS = {"npy": npy_seeds, "safetensors": safetensors_seeds, "vocabulary": vocabulary_seeds,
           "configuration": configuration_seeds, "captions": captions_seeds, "ids": ids_seeds,
           "word_vectors": word_vectors_seeds, "pictures": pictures_seeds, "recorded": recorded_seeds,
           "training": training_seeds, "metrics": metrics_seeds, "results": results_seeds, "events": events_seeds,
           "requests": requests_seeds, "index": index_seeds, "judgments": judgments_seeds}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for reader, seeds in READERS.items():
        folder = pathlib.Path(sys.argv[1]) / reader
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (folder / name).write_bytes(data)


main()
