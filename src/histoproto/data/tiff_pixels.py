"""What the pixels of a TIFF page are, from its tags."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from histoproto.data.pixels import SAMPLES, Alpha, Colours, PixelKind, Pixels
from histoproto.errors import ImageError

_JPEG = (6, 7, 33007, 34892)
_COLOURS: dict[str, Colours] = {
    "RGB": "rgb",
    "YCBCR": "rgb",  # decoded as RGB, with the tiles
    "MINISBLACK": "grey",
    "MINISWHITE": "white is zero",
    "PALETTE": "palette",
    "SEPARATED": "cmyk",
}
_ALPHA: dict[int, Alpha] = {0: "unknown", 1: "premultiplied", 2: "straight"}


def kind_of_pixels(page: tifffile.TiffPage, path: Path) -> PixelKind:
    """The kind of the pixels of a page; that 16 bits are all in use is not known yet.

    Raises:
        ImageError: they cannot be shown as RGB, or not without knowing more.
    """
    photometric = getattr(page.photometric, "name", str(page.photometric))
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    found = f"{path} holds {photometric} pixels, {page.samplesperpixel} × {bits} bits ({page.dtype})"
    colours = _COLOURS.get(photometric)
    if page.sampleformat not in (1, 4) or bits > 16 or page.dtype is None or page.dtype.kind not in "ub":
        raise ImageError(f"{found}; expected an image of 8 or 16 bits per channel, whole numbers without a sign")
    if colours is None:
        raise ImageError(f"{found}; expected RGB, grey, a palette or CMYK: save it as 8-bit RGB")
    if photometric == "YCBCR" and page.compression not in _JPEG:
        raise ImageError(f"{found} that are not compressed as JPEG; save it as 8-bit RGB")
    if colours == "cmyk" and (page.compression in _JPEG or page.tags.valueof(332, 1) != 1):  # InkSet
        raise ImageError(f"{found}, compressed as JPEG or of other inks; save it as 8-bit RGB")
    extra = tuple(int(kind) for kind in page.extrasamples)
    missing = page.samplesperpixel - SAMPLES[colours]
    if colours == "grey" and page.samplesperpixel == 3 and not any(extra):
        return PixelKind("rgb", bits, guessed=True)
    if missing == 1 and page.compression in _JPEG:
        raise ImageError(f"{found}, of which one is beside the colours in a JPEG; save it as 8-bit RGB")
    if missing not in (0, 1):
        raise ImageError(f"{found}; expected one RGB or grey image, and at most one more channel for its opacity")
    alpha: Alpha = _ALPHA.get(extra[-1] if extra else 0, "unknown") if missing else "none"
    return PixelKind(colours, bits, alpha, _palette(page) if colours == "palette" else None)


def declared_bits(page: tifffile.TiffPage, ome: ElementTree.Element | None) -> int | None:
    """How many bits a file says are in use, in OME's SignificantBits or TIFF's MaxSampleValue."""
    pixels = None if ome is None else ome.find("{*}Pixels")
    with suppress(TypeError, ValueError):
        if pixels is not None and pixels.get("SignificantBits"):
            return int(pixels.attrib["SignificantBits"])
    with suppress(TypeError, ValueError):
        most = page.tags.valueof(281, None)
        most = max(most) if isinstance(most, tuple) else most
        return None if most is None else max(1, int(most).bit_length())
    return None


def _palette(page: tifffile.TiffPage) -> Pixels:
    table = np.asarray(page.colormap)  # 3×N of 16 bits, or of 8 by programs that did not read on
    return np.ascontiguousarray((table if table.max() < 256 else table >> 8).T.astype(np.uint8))
