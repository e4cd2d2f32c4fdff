"""What a mask looks like on its image: blended colours, outlines, and a legend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from histoproto.inference.areas import tissue_areas
from histoproto.tissue import UNCERTAIN, UNCERTAIN_COLOUR, TissueSet

OPACITY = 0.4
_LINE = 18
_GAP = 8


def blend_mask(
    image: NDArray[np.uint8], labels: NDArray[np.uint8], tissues: TissueSet, opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """The image with each tissue tinted in its colour and outlined; background stays as it is.

    Args:
        image: H×W×3 uint8 RGB.
        labels: H×W label map.
        tissues: names the colours.
        opacity: of the tint, 0 … 1; outlines are opaque.

    Returns:
        H×W×3 uint8.
    """
    colours = tissues.palette()[labels].astype(np.float32)
    strength = np.where(labels != tissues.background_index, np.where(outlines(labels), 1.0, opacity), 0.0)[..., None]
    return np.asarray(np.round(image * (1 - strength) + colours * strength), dtype=np.uint8)


def outlines(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels (H×W bool) whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def overlay_picture(image: NDArray[np.uint8], labels: NDArray[np.uint8], tissues: TissueSet) -> NDArray[np.uint8]:
    """Image and blended mask side by side on white, with a legend of colours, names and percentages below.

    Returns:
        H'×W'×3 uint8 RGB, H' > H and W' > 2·W; at least as wide as the legend.
    """
    height, width = labels.shape
    areas = tissue_areas(labels, len(tissues))
    shown = [
        (f"{tissue.name} {area.percent:.1f} %", tissue.colour)
        for tissue, area in zip(tissues.tissues, areas, strict=False)
        if area.pixels
    ]
    if areas[-1].pixels:
        shown.append((f"{UNCERTAIN} {areas[-1].percent:.1f} %", UNCERTAIN_COLOUR))
    shown = shown or [("background", "#ffffff")]
    font = ImageFont.load_default(12)
    columns = [int(font.getlength(text)) + _LINE + _GAP for text, _ in shown]
    canvas = Image.new("RGB", (max(2 * width + _GAP, max(columns)), height + _GAP), "white")
    lines: list[list[int]] = [[]]
    for index, column in enumerate(columns):
        if lines[-1] and sum(columns[i] for i in lines[-1]) + column > canvas.width:
            lines.append([])
        lines[-1].append(index)
    picture = Image.new("RGB", (canvas.width, canvas.height + len(lines) * _LINE), "white")
    picture.paste(Image.fromarray(image), (0, 0))
    picture.paste(Image.fromarray(blend_mask(image, labels, tissues)), (width + _GAP, 0))
    draw = ImageDraw.Draw(picture)
    for row, line in enumerate(lines):
        left, top = 0, canvas.height + row * _LINE
        for index in line:
            text, colour = shown[index]
            draw.rectangle((left, top + 2, left + 11, top + 13), fill=colour, outline="black")
            draw.text((left + _LINE - 2, top), text, fill="black", font=font)
            left += columns[index]
    return np.asarray(picture)
