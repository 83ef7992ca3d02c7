#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records tests/golden/pictures.safetensors: small pictures of every kind, and what Pillow makes of them.

    /usr/bin/python3 tests/train/record_pictures.py

Debian 12's Pillow (9.4) and the library use the same libjpeg, libpng and libwebp. Tensors, all u8:

- file.NAME (bytes): a picture as it is in its file.
- rgb.NAME (H,W,3): its pixels, upright, over white.
- bad.NAME (bytes): a file that is to be refused.
- resize.NAME.WxH.FILTER (H,W,3), with .BOX behind it if of a box: resized.
- reduced.NAME.RESIZE.SIZE (SIZE,SIZE,3): the same bilinearly of a JPEG that was reduced while it was decoded.
- view.NAME.RESIZE.SIZE.FILTER (SIZE,SIZE,3): the shorter side to RESIZE, then the middle, as torchvision has it.
"""
import io
import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden" / "pictures.safetensors"
WIDTH, HEIGHT = 23, 17


def scene(width=WIDTH, height=HEIGHT, channels=3, seed=1):
    """Smooth colours, an edge and some noise: uint8 (height, width, channels)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 120 * np.sin(x / (3 + c) + y / (5 - c % 3) + c) for c in range(channels)]
    picture = np.stack(planes, -1) + rng.normal(0, 6, (height, width, channels))
    picture[:, width // 2] = rng.integers(0, 256, (height, channels))
    return np.clip(picture, 0, 255).astype(np.uint8)


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


# ---- PNG of any depth ------------------------------------------------------------------------

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def packed(rows, depth):
    """Rows (height, width, channels) of integers as PNG's scanlines, unfiltered."""
    out = b""
    for row in rows:
        values = row.reshape(-1)
        if depth == 16:
            line = values.astype(">u2").tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in values)
            bits += "0" * (-len(bits) % 8)
            line = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        out += b"\0" + line
    return out


def png(values, depth, colour, before=(), interlaced=False, after=(), says=None):
    height, width = says or values.shape[:2]
    data = packed(values, depth)
    if interlaced:
        parts = [values[y0::dy, x0::dx] for x0, y0, dx, dy in ADAM7]
        data = b"".join(packed(part, depth) for part in parts if part.size)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    chunks = [(b"IHDR", head), *before, (b"IDAT", zlib.compress(data, 9)), *after, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in chunks)


def over_white(rgba):
    image = Image.fromarray(rgba, "RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


# ---- the pictures ----------------------------------------------------------------------------

def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def xmp(orientation):
    return f'<x tiff:Orientations="2" tiff:Orientation="{orientation}"/>'.encode()


def itxt(keyword, text, packed=False):
    """A PNG's chunk of text."""
    text = zlib.compress(text) if packed else text
    return b"iTXt", keyword + bytes([0, packed, 0, 0, 0]) + text


def jpegs():
    image = Image.fromarray(scene())
    yield "grey.jpg", saved(image.convert("L"), "JPEG", quality=80)
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"{name}.jpg", saved(image, "JPEG", quality=80, subsampling=sampling)
    yield "large.jpg", saved(Image.fromarray(scene(89, 61)), "JPEG", quality=50)
    yield "progressive.jpg", saved(image, "JPEG", quality=80, progressive=True)
    for i in range(1, 9):
        yield f"turned{i}.jpg", saved(image, "JPEG", quality=60, exif=exif(i))
    cmyk = saved(Image.fromarray(scene(channels=4), "CMYK"), "JPEG", quality=80)
    yield "cmyk.jpg", cmyk
    at = cmyk.index(b"Adobe") + 11  # which transform: 2 is YCCK
    yield "ycck.jpg", cmyk[:at] + b"\x02" + cmyk[at + 1:]
    rgb = saved(image, "JPEG", quality=80, subsampling=0)
    yield "rgb.jpg", rgb[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0" + rgb[20:]  # in place of JFIF


def pngs():
    rgb, rgba = scene(), scene(channels=4)
    palette = scene(1, 16).tobytes()
    index = scene(channels=1) >> 4
    for way in (False, True):
        name = "interlaced" if way else "plain"
        yield f"{name}8.png", png(rgb, 8, 2, interlaced=way), None
        yield f"{name}alpha.png", png(rgba, 8, 6, interlaced=way), over_white(rgba)
        yield f"{name}palette.png", png(index, 4, 3, [(b"PLTE", palette)], interlaced=way), None
        yield f"{name}1.png", png(scene(channels=1) >> 7, 1, 0, interlaced=way), None
    yield "grey2.png", png(scene(channels=1) >> 6, 2, 0), None
    yield "grey4.png", png(index, 4, 0), None
    yield "grey8.png", png(scene(channels=1), 8, 0), None
    greyalpha = scene(channels=2)
    yield "greyalpha.png", png(greyalpha, 8, 4), over_white(greyalpha[..., [0, 0, 0, 1]])
    wide = scene(channels=4).astype(np.uint16) * 256 + scene(channels=4, seed=2)
    high = (wide >> 8).astype(np.uint8)
    yield "grey16.png", png(wide[..., :1], 16, 0), high[..., [0, 0, 0]]
    yield "rgb16.png", png(wide[..., :3], 16, 2), high[..., :3]
    yield "rgba16.png", png(wide, 16, 6), over_white(high)
    opacity = bytes(range(0, 256, 17))
    seen = np.concatenate([np.frombuffer(palette, np.uint8).reshape(16, 3),
                           np.frombuffer(opacity, np.uint8)[:, None]], 1)[index[..., 0]]
    yield "palettealpha.png", png(index, 4, 3, [(b"PLTE", palette), (b"tRNS", opacity)]), over_white(seen)
    key = struct.pack(">HHH", *map(int, rgb[3, 4]))
    clear = (rgb == rgb[3, 4]).all(-1, keepdims=True)
    yield "key.png", png(rgb, 8, 2, [(b"tRNS", key)]), np.where(clear, 255, rgb).astype(np.uint8)
    for name, place in (("before", "before"), ("after", "after")):
        turned = png(rgb, 8, 2, **{place: [(b"eXIf", exif(6)[6:])]})
        yield f"turned{name}.png", turned, np.rot90(rgb, -1)
    said = itxt(b"XML:com.adobe.xmp", xmp(6))
    yield "xmpbefore.png", png(rgb, 8, 2, [said]), None
    yield "xmpafter.png", png(rgb, 8, 2, after=[itxt(b"XML:com.adobe.xmp", xmp(8), packed=True)]), None
    yield "xmpandexif.png", png(rgb, 8, 2, [said, (b"eXIf", exif(3)[6:])]), None
    other = Image.Exif()
    other[0x011A] = 3  # a resolution
    yield "xmpandother.png", png(rgb, 8, 2, [said, (b"eXIf", other.tobytes()[6:])]), None
    yield "comment.png", png(rgb, 8, 2, [itxt(b"Comment", xmp(6))]), None
    yield "one.png", png(rgb[:1, :1], 8, 2), None


def webps():
    image, seen = Image.fromarray(scene()), scene(channels=4)
    yield "lossy.webp", saved(image, "WEBP", quality=70), None
    yield "lossless.webp", saved(image, "WEBP", lossless=True), None
    yield "alpha.webp", saved(Image.fromarray(seen), "WEBP", lossless=True, exact=True), over_white(seen)
    yield "turned.webp", saved(image, "WEBP", lossless=True, exif=exif(8)), None
    turned = np.rot90(scene(), -1)  # Pillow reads no XMP in WebP before 11
    yield "xmp.webp", saved(image, "WEBP", lossless=True, xmp=xmp(6)), turned
    yield "xmpandexif.webp", saved(image, "WEBP", lossless=True, xmp=xmp(6), exif=exif(8)), None
    frames = [Image.fromarray(scene(channels=4, seed=s)) for s in (1, 2)]
    moving = saved(frames[0], "WEBP", lossless=True, exact=True, save_all=True, append_images=frames[1:])
    yield "moving.webp", moving, over_white(seen)


def upright(data):
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def pictures():
    """(name, bytes, pixels)"""
    for name, data in jpegs():
        yield name, data, upright(data)
    for name, data, pixels in (*pngs(), *webps()):
        pixels = upright(data) if pixels is None else pixels
        yield name, data, pixels


def segment(data, marker):
    at = data.index(b"\xff" + marker)
    return data[at:at + 2 + int.from_bytes(data[at + 2:at + 4], "big")]


def bad():
    """(name, bytes)"""
    data = saved(Image.fromarray(scene(8, 8)).convert("L"), "JPEG")
    tables = segment(data, b"\xdb") + data[data.index(b"\xff\xc4"):data.index(b"\xff\xda")]
    values = data[data.index(segment(data, b"\xda")) + 10:-2]
    frame = b"\xff\xc0\0\x11\x08\0\x08\0\x08\x03\1\x11\0\2\x11\0\3\x11\0"
    scans = [b"\xff\xda\0\x08\1" + bytes([c]) + b"\0\0\x3f\0" + values for c in [1] * 510 + [2, 3]]
    yield "scans.jpg", data[:2] + tables + frame + b"".join(scans) + data[-2:]
    two = frame[:3] + b"\x0e" + frame[4:9] + b"\2" + frame[10:16]
    yield "channels.jpg", data[:2] + tables + two + scans[0] + data[-2:]
    huge = struct.pack(">HH", 65000, 65000)
    yield "huge.jpg", data.replace(b"\0\x08\0\x08", huge, 1)
    yield "huge.png", png(scene(), 8, 2, says=(65000, 65000))
    yield "flat.png", png(scene(), 8, 2, says=(0, 23))
    yield "long.png", png(scene(), 8, 2, says=(2, 70000))
    webp = saved(Image.fromarray(scene(8, 8)), "WEBP", quality=10)
    yield "huge.webp", webp.replace(b"\x9d\x01\x2a\x08\0\x08\0", b"\x9d\x01\x2a\xff\x3f\xff\x3f")


# ---- resized ---------------------------------------------------------------------------------

FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}


def resized(image, name):
    for width, height in ((7, 5), (40, 31), (23, 5), (64, 17), (1, 1)):
        for kind, value in FILTERS.items():
            yield f"resize.{name}.{width}x{height}.{kind}", image.resize((width, height), value)
    box = (2.5, 1.25, 15.75, 16.5)
    for kind, value in FILTERS.items():
        text = ",".join(map(str, box))
        yield f"resize.{name}.9x11.{kind}.{text}", image.resize((9, 11), value, box)


def viewed(image, name):
    for resize, size in ((8, 7), (9, 9), (12, 5), (20, 17)):
        for kind, value in FILTERS.items():
            shorter = min(image.size)
            whole = image.resize([int(resize * side / shorter) for side in image.size], value)
            left, top = (int(round((side - size) / 2)) for side in whole.size)
            yield f"view.{name}.{resize}.{size}.{kind}", whole.crop((left, top, left + size, top + size))


def reduced(data, name):
    for resize, size in ((7, 7), (14, 10), (20, 20), (36, 30)):  # of 61 rows: by 8, 4, 2 and 1
        image = Image.open(io.BytesIO(data))
        target = [int(resize * side / min(image.size)) for side in image.size]
        _, box = image.draft("RGB", target) or (None, (0, 0, *image.size))
        whole = image.resize(target, Image.BILINEAR, box)
        left, top = (int(round((side - size) / 2)) for side in whole.size)
        yield f"reduced.{name}.{resize}.{size}", whole.crop((left, top, left + size, top + size))


def main():
    tensors = {}
    for name, data, pixels in pictures():
        tensors[f"file.{name}"] = np.frombuffer(data, np.uint8)
        tensors[f"rgb.{name}"] = pixels
    for name, data in bad():
        tensors[f"bad.{name}"] = np.frombuffer(data, np.uint8)
    for name in ("444.jpg", "turned6.jpg"):
        image = Image.fromarray(tensors[f"rgb.{name}"])
        for key, result in (*resized(image, name), *viewed(image, name)):
            tensors[key] = np.asarray(result)
    for key, result in reduced(tensors["file.large.jpg"].tobytes(), "large.jpg"):
        tensors[key] = np.asarray(result)
    header, at = {}, 0
    for key, value in tensors.items():
        header[key] = {"dtype": "U8", "shape": value.shape, "data_offsets": [at, at + value.size]}
        at += value.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.ascontiguousarray(value).tobytes() for value in tensors.values())
    OUT.write_bytes(struct.pack("<Q", len(text)) + text + body)


if __name__ == "__main__":
    main()
