"""A slide and its tissue map side by side, to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from histoproto.files import replace_atomically
from histoproto.inference.windows import CELL
from histoproto.slides.export.areas import WHOLE_SLIDE, AreaRow, share_of_tissue, slide_areas
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.trust import LIMIT, Trust
from histoproto.tissue import UNCERTAIN, UNCERTAIN_COLOUR, TissueSet

RGB = NDArray[np.uint8]

THUMBNAIL_FILE, THUMBNAIL = "thumbnail.jpg", (360, 240)
"""The two pictures alone, to fit into these width and height: for the summary of many slides."""
SIDE = 900
"""Longest side of either picture in pixels; of wide slides twice that, one above the other."""
ENLARGE = 16
"""At most, for slides of a few pixels."""
_MARGIN, _GAP, _LEGEND_WIDTH, _ROW = 28, 20, 560, 30
SURE, UNSURE, STRANGE = "#efedf5", "#54278f", "#e6550d"
DOUBT_SHOWN = 0.6
"""Doubt from which on it is shown darkest."""
_TEXT, _SOFT, _LINE = "#1c2127", "#5c6570", "#b9c0c9"


def write_overview(
    path: Path,
    thumbnail: RGB,
    raster: LabelRaster,
    tissues: TissueSet,
    mpp: float | None,
    title: str,
    areas: Sequence[AreaRow] | None = None,
    trust: Trust | None = None,
) -> None:
    """Write a PNG: title, slide beside map (above it, if it is wide), a scale bar, and a legend with areas.

    The third picture, if there is `trust`, shows doubt: the darker, the lower the chance of the tissue that the map
    shows; striped where a place is unlike the training patches.

    A `thumbnail.jpg` beside it shows the two pictures alone.

    Args:
        path: of the file.
        thumbnail: H×W×3 RGB, the whole slide at any size.
        raster: its label map.
        tissues: names and colours.
        mpp: µm per pixel of the raster; None: no scale bar.
        title: a line above, shortened where it is too long.
        areas: of the slide, if known already; else they are counted.
        trust: doubt and strangeness of its cells.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = slide_areas(raster, tissues, mpp, trust=trust) if areas is None else areas
    pictures = _pictures(thumbnail, raster, tissues, trust)
    with replace_atomically(path) as temporary:
        _draw(pictures, raster, tissues, mpp, title, rows, 2 if trust is None else 3).save(
            temporary, "PNG", compress_level=1
        )
    pictures.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    with replace_atomically(path.with_name(THUMBNAIL_FILE)) as temporary:
        pictures.save(temporary, "JPEG", quality=85)


def shrink_labels(raster: LabelRaster, height: int, width: int) -> NDArray[np.uint8]:
    """The label map at another size (height×width), by nearest neighbour; a row at a time is in memory."""
    y, x = (
        ((np.arange(count) + 0.5) * side / count).astype(int)
        for count, side in ((height, raster.height), (width, raster.width))
    )
    return np.concatenate([raster.read(int(row), 0, 1, raster.width)[:, x] for row in y])


def scale_bar(um_per_pixel: float, room: int) -> tuple[float, str]:
    """The longest bar of 1, 2 or 5 times a power of ten that has room: its length in pixels, and what it stands for.

    >>> scale_bar(2.5, 300)
    (200.0, '500 µm')
    >>> scale_bar(10, 300)
    (200.0, '2 mm')
    """
    longest = um_per_pixel * room
    power = 10.0 ** math.floor(math.log10(longest))
    um = max(factor * power for factor in (1, 2, 5) if factor * power <= longest)
    return um / um_per_pixel, f"{um / 1000:g} mm" if um >= 1000 else f"{um:g} µm"


class _Entry(NamedTuple):
    """A line of the legend."""

    name: str
    figures: str
    colour: str


def _is_wide(raster: LabelRaster) -> bool:
    return raster.width > 2 * raster.height


def _pictures(thumbnail: RGB, raster: LabelRaster, tissues: TissueSet, trust: Trust | None) -> Image.Image:
    """The slide, its map and its doubt at one size, beside or above each other on white."""
    wide = _is_wide(raster)
    room = (2 * SIDE + _GAP, SIDE) if wide else (SIDE, SIDE)
    scale = min(room[0] / raster.width, room[1] / raster.height, ENLARGE)
    width, height = max(1, round(raster.width * scale)), max(1, round(raster.height * scale))
    how = Image.Resampling.LANCZOS if thumbnail.shape[1] > width else Image.Resampling.BICUBIC
    slide = Image.fromarray(thumbnail).resize((width, height), how)
    labels = shrink_labels(raster, height, width)
    shown = [slide, Image.fromarray(tissues.palette()[labels])]
    if trust is not None:
        shown.append(Image.fromarray(doubt_colours(trust, raster, labels, tissues.background_index)))
    right, below = (0, height + _GAP) if wide else (width + _GAP, 0)
    last = len(shown) - 1
    pictures = Image.new("RGB", (width + last * right + 2, height + last * below + 2), "white")
    draw = ImageDraw.Draw(pictures)
    for index, image in enumerate(shown):
        x, y = 1 + index * right, 1 + index * below
        pictures.paste(image, (x, y))
        draw.rectangle((x - 1, y - 1, x + width, y + height), outline=_LINE)
    return pictures


def doubt_colours(trust: Trust, raster: LabelRaster, labels: NDArray[np.uint8], background: int) -> RGB:
    """Doubt of a shrunk label map, H×W×3: pale where there is none, violet from `DOUBT_SHOWN` on, orange stripes on
    what is strange; background white."""
    height, width = labels.shape
    rows, columns = (
        np.minimum(((np.arange(count) + 0.5) * side / count / CELL).astype(int), cells - 1)
        for count, side, cells in zip(labels.shape, raster.shape, trust.doubt.shape, strict=True)
    )

    def at(layer: LabelRaster) -> NDArray[np.uint8]:
        return np.concatenate([layer.read(int(row), 0, 1, layer.width)[:, columns] for row in rows])

    pale, dark, stripe = (np.array(ImageColor.getrgb(colour)) for colour in (SURE, UNSURE, STRANGE))
    strength = np.minimum(at(trust.doubt) / (255 * DOUBT_SHOWN), 1)[..., None]
    colours = pale * (1 - strength) + dark * strength
    if trust.strange is not None:
        stripes = np.add.outer(np.arange(height), np.arange(width)) % 9 < 3
        colours[stripes & (at(trust.strange) > LIMIT)] = stripe
    colours[labels == background] = 255
    return np.asarray(colours, dtype=np.uint8)


def _draw(
    pictures: Image.Image,
    raster: LabelRaster,
    tissues: TissueSet,
    mpp: float | None,
    title: str,
    areas: Sequence[AreaRow],
    count: int,
) -> Image.Image:
    legend = _legend(tissues, areas)
    inner = max(pictures.width, _LEGEND_WIDTH)
    picture = Image.new("RGB", (inner + 2 * _MARGIN, pictures.height + 200 + _ROW * len(legend)), "white")
    draw, font = ImageDraw.Draw(picture), _font(22, bold=True)
    draw.text((_MARGIN, 22), _fitting(title, font, inner), fill=_TEXT, font=font)
    picture.paste(pictures, (_MARGIN, 64))
    below = 64 + pictures.height + 14
    if mpp is not None:
        width = pictures.width - 2 if _is_wide(raster) else (pictures.width - 2 - (count - 1) * _GAP) // count
        below = _draw_scale_bar(draw, mpp * raster.width / width, inner, below)
    below = _draw_legend(draw, legend, inner, below)
    return picture.crop((0, 0, picture.width, below + _MARGIN))


def _legend(tissues: TissueSet, areas: Sequence[AreaRow]) -> list[_Entry]:
    rows = {row.tissue: row for row in areas if row.region == WHOLE_SLIDE}
    if all(math.isnan(rows[tissue.name].percent) for tissue in tissues.tissues):
        return [_Entry("no tissue", "", "#ffffff")]
    entries = []
    for tissue in tissues.tissues:
        row = rows[tissue.name]
        area = "" if math.isnan(row.mm2) else area_text(row.mm2)
        entries.append(_Entry(tissue.name, f"{row.percent:.1f} %   {area}", tissue.colour))
    if UNCERTAIN in rows:
        entries.append(_Entry(UNCERTAIN, f"{rows[UNCERTAIN].percent:.1f} %", UNCERTAIN_COLOUR))
    for name, share, colour in (
        ("doubtful", share_of_tissue(areas, "doubtful"), UNSURE),
        ("unlike the training patches", share_of_tissue(areas, "strange"), STRANGE),
    ):
        if not math.isnan(share):
            entries.append(_Entry(name, f"{share:.1f} %", colour))
    return entries


def area_text(mm2: float) -> str:
    """An area with three digits and its unit.

    >>> area_text(0.00123), area_text(0.1234), area_text(1234.5)
    ('1230 µm²', '0.123 mm²', '1234 mm²')
    """
    if mm2 < 0.01:
        return f"{float(f'{mm2 * 1e6:.3g}'):g} µm²"
    return f"{mm2:.3g} mm²" if mm2 < 100 else f"{mm2:.0f} mm²"


def _draw_scale_bar(draw: ImageDraw.ImageDraw, um_per_pixel: float, inner: int, top: int) -> int:
    length, text = scale_bar(um_per_pixel, min(inner, 2 * SIDE) // 5)
    x, y = _MARGIN, top + 9
    draw.rectangle((x, y - 2, x + round(length), y + 1), fill=_TEXT)
    for end in (x, x + round(length)):
        draw.line((end, y - 6, end, y + 5), fill=_TEXT, width=2)
    draw.text((x + round(length) + 12, y), text, fill=_TEXT, font=_font(16), anchor="lm")
    return top + 34


def _draw_legend(draw: ImageDraw.ImageDraw, legend: list[_Entry], inner: int, top: int) -> int:
    """As many columns of equal width as there is room for, read from left to right."""
    font, number_font = _font(17), _font(15)
    needed = max(30 + font.getlength(name) + 14 + number_font.getlength(figures) for name, figures, _ in legend) + 36
    columns = max(1, min(len(legend), int((inner + 36) // needed)))
    for index, (name, figures, colour) in enumerate(legend):
        x, y = _MARGIN + int(index % columns * needed), top + _ROW * (index // columns)
        draw.rounded_rectangle((x, y + 4, x + 18, y + 22), 3, fill=colour, outline=_LINE)
        name = _fitting(name, font, int(inner - 50 - number_font.getlength(figures)))
        draw.text((x + 30, y + 13), name, fill=_TEXT, font=font, anchor="lm")
        draw.text((x + 30 + font.getlength(name) + 14, y + 13), figures, fill=_SOFT, font=number_font, anchor="lm")
    return top + _ROW * math.ceil(len(legend) / columns)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    # DejaVu comes with matplotlib and has the letters of most languages.
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"), size)


def _fitting(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    """The text, with its middle left out where it is too long."""
    if font.getlength(text) <= room:
        return text
    keep = len(text)
    while keep > 2 and font.getlength(f"{text[: keep // 2]}…{text[-(keep // 2) :]}") > room:
        keep -= 1
    return f"{text[: keep // 2]}…{text[-(keep // 2) :]}"
