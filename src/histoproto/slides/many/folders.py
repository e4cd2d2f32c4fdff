"""The slides in a folder, and everything in it that is none: found or said, never passed over in silence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from histoproto.words import listed

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Endings of plain pictures: slides if they are named, but not in a folder, where they are thumbnails and masks."""
SLIDES = frozenset(
    {".svs", ".tif", ".tiff", ".btf", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".dcm"}
)
"""Endings (lower case) of the slides in a folder."""
FOREIGN = {
    ".qptiff": "Akoya QPTIFF",
    ".czi": "Zeiss CZI",
    ".zvi": "Zeiss ZVI",
    ".lsm": "Zeiss LSM",
    ".lif": "Leica LIF",
    ".xlef": "Leica XLEF",
    ".vsi": "Evident VSI",
    ".ets": "Evident ETS",
    ".oir": "Evident OIR",
    ".oib": "Evident OIB",
    ".nd2": "Nikon ND2",
    ".isyntax": "Philips iSyntax",
    ".i2syntax": "Philips iSyntax",
    ".ims": "Imaris IMS",
    ".kfb": "KFBIO KFB",
    ".sdpc": "SQRAY SDPC",
    ".tmap": "UNIC TMAP",
    ".mdsx": "Motic MDSX",
    ".mds": "Motic MDS",
    ".jp2": "JPEG 2000",
    ".jpx": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".dzi": "Deep Zoom",
}
"""Endings of slides that are not read, and their formats."""
UNFINISHED = frozenset({".part", ".partial", ".crdownload", ".download", ".tmp", ".filepart", ".aria2"})
"""Endings of downloads that are under way, or were broken off."""
_RESULTS = "record.json"
_DRAWN = re.compile(r"\.geojson(\.gz)?$", re.IGNORECASE)
"""Annotations of a slide lie beside it, and are no find."""
_NAMED = 5


@dataclass
class LeftOut:
    """What was left out of the slides, told when all is looked through.

    Attributes:
        count: of files that are, or may be, slides.
        notes: in words.
    """

    count: int = 0
    notes: list[str] = field(default_factory=list)

    def tell(self, paths: Iterable[Path], why: str, slides: bool = True) -> None:
        """Add a sentence for files that are left out for the same reason; none if there are none."""
        names = [path.name for path in paths]
        if names:
            self.notes.append(f"left out: {listed(names)}: {why}")
            self.count += len(names) if slides else 0


def slides_in(folder: Path, left_out: LeftOut) -> list[Path]:
    """The slides directly in a folder; where there are none, those at any depth below it."""
    here = sorted(folder.iterdir())
    found = without_others(here, folder, left_out)
    deeper = [path for path in below(here) if path.is_file() and is_slide(path)]
    if found:
        left_out.tell(deeper, f"they lie in folders within {folder}; name these, or {folder / '**' / '*.*'}")
        return found
    if deeper:
        left_out.notes.append(f"the {len(deeper)} slides of {folder} lie in folders within it")
        for part in sorted({path.parent for path in deeper}):
            without_others(sorted(part.iterdir()), part, left_out)
    return deeper


def without_others(paths: Iterable[Path], where: Path, left_out: LeftOut) -> list[Path]:
    """The slides among paths; what else there is, is told of."""
    visible = [path for path in paths if path.name[0] != "."]
    links = [path for path in visible if path.is_symlink() and not path.exists()]
    files = [path for path in visible if path.is_file()]
    slides = [path for path in files if is_slide(path)]
    left_out.tell(links, "links to files that are not there")
    odd = [path for path in visible if path.exists() and not path.is_file() and not path.is_dir()]
    left_out.tell(odd, "pipes or devices, no files")
    foreign = [path for path in visible if path.suffix.lower() in FOREIGN]
    for ending in sorted({path.suffix.lower() for path in foreign}):
        how = "convert them to OME-TIFF, with QuPath or Bio-Formats"
        left_out.tell(
            (path for path in foreign if path.suffix.lower() == ending), f"{FOREIGN[ending]} is not read; {how}"
        )
    left_out.tell((path for path in files if path.suffix.lower() in UNFINISHED), "downloads that are not finished")
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    left_out.tell(pictures, "pictures are slides only if they are named", slides=False)
    told = {*slides, *foreign, *pictures, *(path for path in files if path.suffix.lower() in UNFINISHED)}
    stems = {path.stem.removesuffix(".ome") for path in slides}
    drawn = {path for path in files if _DRAWN.search(path.name) and _DRAWN.sub("", path.name) in stems}
    others = Counter(path.suffix.lower() or "without an ending" for path in files if path not in told | drawn)
    if others:
        commonest = ", ".join(f"{count} {ending}" for ending, count in others.most_common(_NAMED))
        left_out.notes.append(f"files in {where} that are no slides: {commonest}{' …' if len(others) > _NAMED else ''}")
    return slides


def is_slide(path: Path) -> bool:
    """By its ending; files of a DICOM archive have none, or that of a number, and are known by their content."""
    if path.name[0] == ".":
        return False
    ending = path.suffix.lower()
    if ending in SLIDES:
        return True
    if (ending and not ending[1:].isdigit()) or path.name == "DICOMDIR":
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def below(paths: Iterable[Path]) -> Iterator[Path]:
    """What lies in folders, at any depth, without hidden ones, links to folders, and results of HistoProto."""
    for folder in paths:
        if folder.is_dir() and not folder.is_symlink() and folder.name[0] != "." and not (folder / _RESULTS).exists():
            inside = sorted(folder.iterdir())
            yield from (path for path in inside if not path.is_dir())
            yield from below(inside)
