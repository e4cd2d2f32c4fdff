"""What a slide is, for people: format, size, scale and where it comes from, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from histoproto.errors import HistoProtoError, sentence
from histoproto.files import replace_atomically
from histoproto.slides.reading.opening import open_slide
from histoproto.slides.reading.protocol import SlideReader

THUMBNAIL_SIDE = 1024


@dataclass(frozen=True)
class SlideInfo:
    """A slide, as far as its file can be read.

    Attributes:
        path: of the file.
        readable: whether the middle of its finest level could be decoded.
        problem: why not, or why it cannot be opened; empty if it can.
        facts: what there is to say, by name.
        notes: what was chosen, assumed or left out.
    """

    path: Path
    readable: bool
    problem: str
    facts: dict[str, str]
    notes: tuple[str, ...]


def describe_slide(
    path: Path, mpp: float | None = None, thumbnail: Path | None = None, image: str | None = None
) -> SlideInfo:
    """Open a slide, decode a piece of it, and say what it is.

    Args:
        path: of the slide.
        mpp: its µm/px, instead of what the file says.
        thumbnail: where a PNG of the whole slide goes, its longer side at most 1024 pixels.
        image: see `open_slide`.

    Raises:
        OutputError: the thumbnail cannot be written.
    """
    try:
        with open_slide(path, mpp, image) as reader:
            facts, notes, problem = _facts(reader), tuple(reader.notes), ""
            try:
                side = min(256, reader.width, reader.height)
                reader.read((reader.width - side) / 2, (reader.height - side) / 2, side, side)
                picture = reader.thumbnail(THUMBNAIL_SIDE)[0] if thumbnail else None
            except HistoProtoError as error:
                problem, picture = sentence(error), None
    except HistoProtoError as error:
        return SlideInfo(path, False, sentence(error), {}, ())
    if thumbnail and picture is not None:
        with replace_atomically(thumbnail) as temporary:
            Image.fromarray(picture).save(temporary, format="PNG")
    return SlideInfo(path, not problem, problem, facts, notes)


def _facts(reader: SlideReader) -> dict[str, str]:
    mpp = reader.mpp
    facts = {
        "format": f"{reader.format} (read by {type(reader).__name__})",
        "vendor": reader.vendor,
        "size": f"{reader.width} × {reader.height} pixels",
        "levels": ", ".join(f"{level.width} × {level.height} (1/{level.downsample:.4g})" for level in reader.levels),
        "image": reader.image,
        "beside it": ", ".join(reader.beside),
        "bounds": f"from {reader.origin} of the canvas" if reader.origin != (0, 0) else "",
        "µm/px": f"{mpp:.5g} ({reader.mpp_from})" if mpp else "unknown: give --mpp",
        "area": f"{reader.width * mpp / 1000:.2f} × {reader.height * mpp / 1000:.2f} mm" if mpp else "",
        "objective": f"{reader.power:g}×" if reader.power else "",
        "colour profile": "there is one; it is not applied" if reader.profile else "",
    }
    return {name: fact for name, fact in facts.items() if fact}
