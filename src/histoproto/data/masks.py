"""The one reader of masks: a mask is the values that its file holds, not what it looks like.

Palette and grey files (1, 8 or 16 bits) hold values. Files of colours hold them only if every pixel has exactly the
colour of a class; files with losses (JPEG) hold none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from histoproto.data.pictures import TURNS, open_plain, orientation_of
from histoproto.errors import DataError, ImageError, TissueError
from histoproto.tissue import TissueSet

Mask = NDArray[np.bool_]
Whole = NDArray[np.integer[Any]]

WHITE, BLACK = 0xFFFFFF, 0x000000
_VALUES = frozenset({"1", "L", "P", "LA", "La", "PA", "I", "I;16", "I;16L", "I;16B", "I;16N"})
_COLOURS = frozenset({"RGB", "RGBA", "RGBa", "RGBX"})
_SHOWN = 5
"""Values that a sentence names."""


class _Content(NamedTuple):
    """What a mask file holds, H×W each."""

    values: Whole | None
    """None: it has colours."""
    colours: Whole | None
    """0xRRGGBB of each pixel; None: it has values."""
    clear: Mask
    """Where it is wholly transparent."""
    palette: Whole
    """0xRRGGBB of each value; empty: there is none."""


class Selection(NamedTuple):
    """What a mask selects."""

    inside: Mask
    """H×W."""
    notes: tuple[str, ...]
    """What was taken for outside where that is not value 0, and if all is inside."""


def read_mask(path: Path, tissues: TissueSet, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """A mask of tissues as an H × W label map of indices.

    Args:
        path: of the file; its values are those of the tissues, or its colours are.
        tissues: with their values and colours. Besides white, black is background in a file of colours; so is what is
            transparent in any.
        shape: height and width of its image, which it must have.

    Raises:
        ImageError: it cannot be read, has losses, or another size than its image.
        TissueError: it holds a value or a colour of no tissue.
    """
    content = _read(path)
    if shape is not None and content.clear.shape != shape[:2]:
        found, wanted = (f"{width} × {height}" for height, width in (content.clear.shape, shape[:2]))
        raise ImageError(f"the mask {path} has {found} px, but its image has {wanted}; they must agree")
    if content.values is not None:
        values = np.where(content.clear, tissues.background, content.values) if content.clear.any() else content.values
        return tissues.encode(values, f"the mask {path}")
    assert content.colours is not None
    return _by_colour(content.colours, content.clear, tissues, path)


def read_selection(path: Path) -> Selection:
    """A mask of what is to be looked at: inside is what has another value than 0.

    Outside is also: what is transparent; in a file of colours black, and white where there is no black. In a palette
    file whose value 0 has a colour, as in the masks that HistoProto writes, it is the value whose colour is white.

    Raises:
        ImageError: it cannot be read, has losses, or it does not show what is outside.
        DataError: nothing is inside.
    """
    content, notes = _read(path), list[str]()
    if content.clear.any():
        inside = ~content.clear
    elif content.values is not None:
        outside = _outside_of(content.values, content.palette)
        inside = content.values != outside
        if outside:
            notes.append(f"value {outside}, which is white in the palette, is outside in the mask {path.name}")
    else:
        assert content.colours is not None
        inside, notes = _not_black(content.colours, path)
    if not inside.any():
        raise DataError(f"the mask {path} selects nothing: all of it is outside")
    if inside.all():
        notes.append(f"the mask {path.name} selects the whole slide, glass and all")
    return Selection(inside, tuple(notes))


def _read(path: Path) -> _Content:
    image = open_plain(path, pages=True)
    if image.format in ("JPEG", "MPO") or image.info.get("compression") == "jpeg":
        raise ImageError(
            f"the mask {path} is JPEG, which changes values at every border; write it as PNG, or as TIFF without losses"
        )
    if (pages := image.info["pages"]) > 1:
        raise ImageError(f"the mask {path} has {pages} pages, expected one")
    if image.mode not in _VALUES | _COLOURS:
        raise ImageError(
            f"the mask {path} is a {image.mode} image, expected a palette or grey one whose values name tissues"
        )
    if image.info["turned"] != 1:
        raise ImageError(f"the mask {path} is stored turned or mirrored (Orientation); save it upright")
    if (turn := TURNS.get(orientation_of(image))) is not None:
        image = image.transpose(turn)
    bands = np.asarray(image)
    bands = bands.astype(np.uint8) if bands.dtype == np.bool_ else bands
    alpha = bands[..., -1] if image.mode[-1] in "Aa" else None
    clear = np.zeros(bands.shape[:2], dtype=np.bool_) if alpha is None else alpha == 0
    palette: Whole = np.empty(0, dtype=np.int32)
    if image.palette is not None and image.mode in ("P", "PA"):
        palette = _code(np.array(image.getpalette("RGB")).reshape(-1, 3))
    if image.mode in _VALUES:
        return _Content(bands if bands.ndim == 2 else bands[..., 0], None, clear, palette)
    if alpha is not None and ((alpha > 0) & (alpha < 255)).any():
        raise ImageError(
            f"the mask {path} is half transparent, so its colours are not exact; write values or full colours"
        )
    return _Content(None, _code(bands[..., :3]), clear, palette)


def _by_colour(colours: Whole, clear: Mask, tissues: TissueSet, path: Path) -> NDArray[np.uint8]:
    """Labels by the exact colours of the tissues; where all is grey, by values."""
    codes = _code(tissues.rgb()).tolist()
    found = np.unique(colours[~clear]).tolist()
    known = {code: index for index, code in enumerate(codes)}
    if WHITE not in found and BLACK not in known:
        known[BLACK] = tissues.background_index
    grey = all(code % 0x10101 == 0 for code in found)
    by_colour = set(found) <= set(known) and len(set(codes)) == len(codes)
    values = {tissue.value for tissue in tissues.tissues} | {tissues.background}
    if grey and by_colour and {code % 256 for code in found} <= values:
        raise TissueError(
            f"the mask {path} has colours, and its {_hex(found)} may mean a value or a colour; write it as a grey or "
            "palette image"
        )
    if grey and not by_colour:
        return tissues.encode(np.where(clear, tissues.background, colours & 255), f"the mask {path}")
    if not by_colour:
        strange = [code for code in found if code not in known] or found
        raise TissueError(
            f"the mask {path} holds {len(strange)} colours of no tissue, such as {_hex(strange)}, expected only "
            f"{', '.join(tissue.colour for tissue in tissues.tissues)} and white (see classes.yaml)"
        )
    labels = np.full(colours.shape, tissues.background_index, dtype=np.uint8)
    for code in found:
        labels[(colours == code) & ~clear] = known[code]
    return labels


def _outside_of(values: Whole, palette: Whole) -> int:
    """The value that is outside: 0, but in a palette where 0 has a colour, the one that is white."""
    if not palette.size or palette[0] in (WHITE, BLACK):
        return 0
    white = np.flatnonzero(palette == WHITE)
    used = np.intersect1d(white, values)
    return int(used[0]) if used.size else int(white[0]) if white.size else 0


def _not_black(colours: Whole, path: Path) -> tuple[Mask, list[str]]:
    found = np.unique(colours)
    if WHITE in found and BLACK in found and len(found) > 2:
        raise ImageError(
            f"the mask {path} holds black, white and other colours, and does not say which is outside; write it in "
            "grey, 0 for outside"
        )
    if WHITE in found and BLACK not in found and len(found) > 1:
        return colours != WHITE, [f"white is outside in the mask {path.name}"]
    return colours != BLACK, []


def _code(rgb: Whole) -> Whole:
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    return np.asarray(red << 16 | green << 8 | blue)


def _hex(codes: list[int]) -> str:
    return ", ".join(f"#{code:06x}" for code in codes[:_SHOWN])
