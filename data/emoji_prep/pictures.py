# SPDX-License-Identifier: Apache-2.0
"""Drawing emoji, leaving out what is no picture, and the region features of a picture."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from emoji_prep import PreparationError
from emoji_prep.cldr import Emoji

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_PACKAGE = "fonts-noto-color-emoji"
FONT_SIZE = 109  # the only size at which the font has bitmaps
CANVAS = (136, 128)  # one glyph at that size
ONE_GLYPH = 140.0  # a glyph advances by 135.72; a sequence that falls apart by a multiple of it

THUMBNAIL = 72
REDUCED = 24
GRID = 6
REGIONS = GRID * GRID
BINS = 8

LEFT_OUT = ("ascii", "component", "flag", "blank", "several glyphs", "identical")

WHY_LEFT_OUT = {
    "ascii": "plain ASCII characters",
    "component": "bare skin tones and hair",
    "flag": "flags (an unseen flag cannot be guessed)",
    "blank": "not in the font",
    "several glyphs": "sequences drawn as several pictures",
    "identical": "the same picture as a simpler sequence",
}


# --- drawing ---------------------------------------------------------------------------------


def load_font(path: Path = FONT) -> ImageFont.FreeTypeFont:
    """The emoji font with the layout engine that joins sequences into one glyph."""
    if not path.is_file():
        raise PreparationError(f"missing {path}: install the Debian package {FONT_PACKAGE}")
    # Without RAQM, Pillow silently falls back to a layout that draws "woman, joiner, scales".
    if not features.check("raqm"):
        raise PreparationError("Pillow has no RAQM text layout: install the Debian packages python3-pil and libraqm0")
    try:
        return ImageFont.truetype(str(path), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)
    except OSError as error:
        raise PreparationError(
            f"cannot use {path} at size {FONT_SIZE} ({error}): reinstall the Debian package {FONT_PACKAGE}"
        ) from None


def draw(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The colour glyph on a white canvas."""
    image = Image.new("RGB", CANVAS, "white")
    ImageDraw.Draw(image).text((0, 0), text, font=font, embedded_color=True)
    return image


def is_component(text: str) -> bool:
    """A bare skin tone or hair, made to modify another emoji."""
    return len(text) == 1 and ("\U0001F3FB" <= text <= "\U0001F3FF" or "\U0001F9B0" <= text <= "\U0001F9B3")


def is_flag(text: str) -> bool:
    """Spelt by regional indicators (countries) or by tags (England, Scotland, Wales)."""
    return any("\U0001F1E6" <= char <= "\U0001F1FF" or "\U000E0000" <= char <= "\U000E007F" for char in text)


def is_blank(image: Image.Image) -> bool:
    return image.getextrema() == ((255, 255),) * 3


def choose(
    emoji: list[Emoji], font: ImageFont.FreeTypeFont
) -> tuple[list[Emoji], list[Image.Image], Counter[str]]:
    """Those that have a picture of their own, their thumbnails, and why the others were left out."""
    chosen: list[Emoji] = []
    thumbnails: list[Image.Image] = []
    left_out: Counter[str] = Counter()
    seen: set[bytes] = set()
    for one in emoji:
        reason = reason_by_text(one.text)
        if not reason:
            image = draw(one.text, font)
            pixels = image.tobytes()
            reason = reason_by_picture(one.text, image, font, pixels in seen)
            seen.add(pixels)
        if reason:
            left_out[reason] += 1
        else:
            chosen.append(one)
            thumbnails.append(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))
    return chosen, thumbnails, left_out


def reason_by_text(text: str) -> str:
    """Why a sequence is left out whatever it looks like, or nothing."""
    if text.isascii():
        return "ascii"
    if is_component(text):
        return "component"
    return "flag" if is_flag(text) else ""


def reason_by_picture(text: str, image: Image.Image, font: ImageFont.FreeTypeFont, seen: bool) -> str:
    """Why a picture is left out, or nothing."""
    if is_blank(image):
        return "blank"
    if font.getlength(text) > ONE_GLYPH:
        return "several glyphs"
    return "identical" if seen else ""


# --- features --------------------------------------------------------------------------------
# Integers and single roundings throughout, no sums in an order that depends on the processor:
# the features are the same bytes on every machine.


def region_pixels(image: Image.Image) -> np.ndarray:
    """(regions, 48): the 4x4x3 pixels of each region of the picture reduced to 24x24, in 0..1."""
    small = np.asarray(image.resize((REDUCED, REDUCED), Image.Resampling.BOX), dtype=np.float64)
    side = REDUCED // GRID
    tiles = small.reshape(GRID, side, GRID, side, 3).transpose(0, 2, 1, 3, 4)
    return tiles.reshape(REGIONS, side * side * 3) / 255.0


def gradient_bins(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """The direction of each gradient in eighths of a turn, bin 0 centred on the x axis.

    By comparisons rather than arctan2, whose last bit depends on the processor.
    """
    slope = np.sqrt(2.0) - 1.0  # tan of half a bin
    wide, high = np.abs(dx), np.abs(dy)
    flat, steep = high <= slope * wide, wide < slope * high
    diagonal = np.where(dx > 0, np.where(dy > 0, 1, 7), np.where(dy > 0, 3, 5))
    return np.where(flat, np.where(dx >= 0, 0, 4), np.where(steep, np.where(dy > 0, 2, 6), diagonal))


def region_gradients(image: Image.Image) -> np.ndarray:
    """(regions, 8): gradient strength by direction, over the region of the 72x72 picture."""
    red, green, blue = np.moveaxis(np.asarray(image, dtype=np.int64), -1, 0)
    grey = np.pad(299 * red + 587 * green + 114 * blue, 1, mode="edge")
    dx = (grey[1:-1, 2:] - grey[1:-1, :-2]).astype(np.float64)
    dy = (grey[2:, 1:-1] - grey[:-2, 1:-1]).astype(np.float64)
    strength = np.sqrt(dx * dx + dy * dy)
    cell = np.arange(THUMBNAIL) // (THUMBNAIL // GRID)
    slot = (cell[:, None] * GRID + cell[None, :]) * BINS + gradient_bins(dx, dy)
    sums = np.bincount(slot.ravel(), weights=strength.ravel(), minlength=REGIONS * BINS)
    return sums.reshape(REGIONS, BINS) / (255_000.0 * (THUMBNAIL // GRID) ** 2)


def region_positions() -> np.ndarray:
    """(regions, 5): across, down, how far from the middle each way, and distance from the centre."""
    centre = (np.arange(GRID) + 0.5) * 2.0 / GRID - 1.0
    down, across = np.meshgrid(centre, centre, indexing="ij")
    columns = [across, down, np.abs(across), np.abs(down), np.sqrt(across * across + down * down)]
    return np.stack([column.ravel() for column in columns], axis=1)


def region_boxes() -> np.ndarray:
    """(regions, 4): left, top, right, bottom of each, as parts of the picture's width and height."""
    edge = np.arange(GRID + 1) / GRID
    top, left = np.meshgrid(edge[:-1], edge[:-1], indexing="ij")
    bottom, right = np.meshgrid(edge[1:], edge[1:], indexing="ij")
    return np.stack([side.ravel() for side in (left, top, right, bottom)], axis=1).astype(np.float32)


def describe(image: Image.Image) -> np.ndarray:
    """(regions, 61): pixels, gradients and position of each region of a 72x72 picture, not standardised."""
    return np.concatenate([region_pixels(image), region_gradients(image), region_positions()], axis=1)


def statistics(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel over (images, regions, channels)."""
    rows = raw.reshape(-1, raw.shape[-1])
    mean = rows.mean(axis=0)
    deviation = np.sqrt(((rows - mean) ** 2).mean(axis=0))
    return mean, np.where(deviation > 0, deviation, 1.0)


def standardise(raw: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The float32 features that the model reads."""
    return np.ascontiguousarray((raw - mean) / deviation, dtype=np.float32)
