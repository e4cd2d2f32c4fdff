"""The size of a pixel as TIFF files state it: in OME-XML, by ImageJ, by Aperio, or in the resolution tags."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from xml.etree import ElementTree

import tifffile

from histoproto.data.scale import SQUARE, Stated
from histoproto.data.tiff import TiffImage

_UM = {
    "km": 1e9, "m": 1e6, "dm": 1e5, "cm": 1e4, "mm": 1e3, "µm": 1.0, "um": 1.0, "nm": 1e-3, "pm": 1e-6, "å": 1e-4,
    "in": 25400.0, "ft": 304800.0, "thou": 25.4, "mil": 25.4,
    "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "micrometre": 1.0, "nanometer": 1e-3, "millimeter": 1e3,
    "inch": 25400.0, "inches": 25400.0,
}  # fmt: skip
_TAG_UM = {2: 25400.0, 3: 10000.0}  # of the resolution tags: inch, centimetre


def stated_scale(image: TiffImage) -> Stated | None:
    """What the file says about the image that is read; None: nothing."""
    return next(iter(_statements(image)), None)


def other_scale(image: TiffImage) -> str:
    """A sentence where a file says two different things about the size of a pixel; empty if it does not."""
    said = [stated for stated in _statements(image) if not stated.doubt]
    for other in said[1:]:
        if abs(other.mpp / said[0].mpp - 1) > SQUARE:
            return (
                f"its {other.source} says {other.mpp:.4g} µm/px, its {said[0].source} {said[0].mpp:.4g}, which is taken"
            )
    return ""


def _statements(image: TiffImage) -> list[Stated]:
    """All that the file says, that which counts more first."""
    said = (_ome(image.choice.ome), _imagej(image.file, image.page), _aperio(image.page), _tags(image.page))
    return [stated for stated in said if stated is not None]


def micrometres(unit: str) -> float | None:
    """µm of a unit of length, as OME and ImageJ write it; None: it is none.

    >>> micrometres("\\\\u00B5m"), micrometres("pixel")
    (1.0, None)
    """
    plain = re.sub(r"\\u00[bB]5", "µ", unit.strip()).replace("\u03bc", "µ").replace("\xc2", "")
    return _UM.get(plain.lower() if plain != "Å" else "å")


def _ome(image: ElementTree.Element | None) -> Stated | None:
    pixels = None if image is None else image.find("{*}Pixels")
    if pixels is None:
        return None
    sides = []
    for axis in "XY":
        um = micrometres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        with suppress(KeyError, ValueError):
            if um is not None:
                sides.append(float(pixels.attrib[f"PhysicalSize{axis}"]) * um)
    if not sides:
        return None
    return Stated(sides[0], sides[-1], "OME PhysicalSize" if len(sides) == 2 else "OME PhysicalSize of one side")


def _imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> Stated | None:
    """Pixels per unit in the resolution tags, the unit in the description."""
    known = file.imagej_metadata or {}
    unit = known.get("unit")
    um = micrometres(unit) if isinstance(unit, str) else None
    other = known.get("yunit", unit)
    if um is None or (isinstance(other, str) and micrometres(other) != um):
        return None
    return _per_unit(page, um, f"ImageJ resolution (unit {unit})", of_print=um >= 1e4)


def _aperio(page: tifffile.TiffPage) -> Stated | None:
    found = re.search(r"Aperio.*\|\s*MPP\s*=\s*([^|\s]*)", page.description or "", re.DOTALL)
    if found is None:
        return None
    try:
        mpp = float(found[1].replace(",", "."))
    except ValueError:
        mpp = math.nan  # it says something, though nobody knows what
    return Stated(mpp, mpp, "Aperio MPP")


def _tags(page: tifffile.TiffPage) -> Stated | None:
    with suppress(KeyError, TypeError, ValueError):
        um = _TAG_UM[int(page.tags["ResolutionUnit"].value)]
        return _per_unit(page, um, "resolution tag", of_print=True)
    return None


def _per_unit(page: tifffile.TiffPage, um: float, source: str, of_print: bool) -> Stated | None:
    with suppress(KeyError, ZeroDivisionError, TypeError, ValueError):
        across, down = (page.tags[name].value for name in ("XResolution", "YResolution"))
        return Stated(um * across[1] / across[0], um * down[1] / down[0], source, of_print)
    return None
