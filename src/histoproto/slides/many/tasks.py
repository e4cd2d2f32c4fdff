"""Which slides to do: files, folders, patterns and tables become a list of slides, each with a name of its own."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from histoproto.data.images import natural_key
from histoproto.documents.names import check_text
from histoproto.documents.ranges import MPP
from histoproto.documents.tables import read_table
from histoproto.errors import DataError
from histoproto.slides.many.folders import PICTURES, SLIDES, LeftOut, below, is_slide, slides_in, without_others
from histoproto.slides.reading.dicom_file import aside, series_of
from histoproto.slides.task import SlideTask

OUTLINES = (".geojson", ".geojson.gz", ".json")
"""Endings of files with outlines; the first that is found is taken."""
REGIONS = (*OUTLINES, ".png", ".tif", ".tiff")
"""Endings of a file with regions, the first that is there is taken."""
LONGEST = 200
"""Bytes of the name of a slide: a file's has at most 255, and `.NAME.failed.json` and the like are longer."""


def find_slides(
    sources: Sequence[Path],
    mpp: float | None = None,
    regions: Path | None = None,
    left_out: LeftOut | None = None,
    image: str | None = None,
) -> list[SlideTask]:
    """The slides that files, folders, patterns (`slides/*.svs`, `**` for any depth) and CSV tables name, each once.

    A table has the column `slide` and may have `mpp` (µm/px), `region` (a file) and `image` (see `open_slide`); its
    paths are relative to it. Images of one file are slides of their own.

    Args:
        sources: what the user named.
        mpp: µm/px of the slides for which no table says it.
        regions: a file with the regions of the only slide, or a folder with one of each slide's name.
        left_out: is told what was found and not taken.
        image: of the files for which no table says it.

    Raises:
        DataError: something does not exist, there are no slides, a table is malformed, or a slide has no regions.
    """
    left_out = LeftOut() if left_out is None else left_out
    found: dict[tuple[str, str | None], SlideTask] = {}
    for named in (task for source in sources for task in _named_by(source, left_out)):
        task = replace(named, mpp=mpp if named.mpp is None else named.mpp, image=named.image or image)
        first = found.setdefault((os.path.realpath(task.path), task.image), task)  # `resolve` fails on a loop of links
        if first.path.absolute() != task.path.absolute():
            left_out.tell([task.path], f"it is the same file as {first.path}")
        elif (first.mpp, first.regions) != (task.mpp, task.regions):
            raise DataError(f"{task.path} is named twice, with different µm/px or regions; name it once")
    if not found:
        why = f"; {'; '.join(left_out.notes)}" if left_out.notes else ""
        raise DataError(f"there are no slides in {', '.join(map(str, sources)) or 'an empty list'}{why}")
    tasks = _one_per_series(list(found.values()), left_out)
    if regions is not None:
        files = Counter(file for file, _ in found)
        if twice := [task for (file, _), task in found.items() if files[file] > 1 and not task.regions]:
            raise DataError(f"{twice[0].path} is several slides, one per image: a table names the regions of each")
        tasks = [
            task if task.regions else replace(task, regions=_regions_of(task, regions, len(tasks))) for task in tasks
        ]
    for path in (path for task in tasks for path in (task.path, task.regions)):
        if path is not None:
            check_text(str(path), "the path of a slide or its regions")
            if not path.exists():
                raise DataError(f"there is no file {path}")
    return tasks


def name_slides(tasks: Sequence[SlideTask]) -> dict[str, SlideTask]:
    """A name for each slide, under which its results go: its stem, or as much of its path as tells it from the others.

    Raises:
        DataError: two paths that nothing tells apart.

    >>> slides = [SlideTask(Path(path)) for path in ("a/x.svs", "b/x.svs", "b/y.svs", "b/y.ndpi", "z.ome.tif")]
    >>> list(name_slides(slides))
    ['a-x', 'b-x', 'y.svs', 'y.ndpi', 'z']
    >>> list(name_slides([SlideTask(Path("x.tif"), image=image) for image in ("1", "Scan 2")]))
    ['x-1', 'x-Scan_2']
    """
    owners = Counter(name for task in tasks for name in {name.casefold() for name in _names(task)})
    named = {}
    for task in tasks:
        name = next((name for name in _names(task) if owners[name.casefold()] == 1), None)
        if name is None:
            raise DataError(f"{task.path} and another slide would be written under one name; give each its own --out")
        if len(name.encode()) > LONGEST:
            raise DataError(
                f"the name of {task.path} has more than the {LONGEST} bytes to which files of its results can add "
                "their endings; rename it"
            )
        named[name] = task
    return named


def slide_stem(path: Path) -> str:
    """The file name without its ending; `.ome.tif` is one ending.

    >>> slide_stem(Path("a b.ome.tif")), slide_stem(Path("S1.2.svs"))
    ('a b', 'S1.2')
    """
    return path.stem[:-4] if path.stem.lower().endswith(".ome") else path.stem


def find_beside(folder: Path, stem: str, endings: Sequence[str]) -> Path | None:
    """The file of that name in a folder with the first of the endings that there is."""
    return next((path for ending in endings if (path := folder / (stem + ending)).is_file()), None)


def _names(task: SlideTask) -> Iterator[str]:
    """What a slide may be called, the shortest first."""
    stem, parts = slide_stem(task.path), ("root", *task.path.absolute().parts[1:-1])
    names = [stem, task.path.name]
    if task.image:
        image = re.sub(r"[^\w.-]", "_", task.image)
        names += [f"{name}-{image}" for name in names]
    yield from names
    for depth in range(1, len(parts) + 1):
        yield from ("-".join((*parts[-depth:], name)) for name in names)


def _named_by(source: Path, left_out: LeftOut) -> list[SlideTask]:
    if source.is_dir():
        return [SlideTask(path) for path in _sorted(slides_in(source, left_out))]
    if source.suffix.lower() == ".csv":
        return list(_in_table(source))
    if not source.exists() and set("*?[") & set(str(source)):
        matches = _matching(source)
        pictures = [path for path in matches if path.suffix.lower() in PICTURES and path.name[0] != "."]
        slides = without_others((path for path in matches if path not in set(pictures)), source, left_out)
        if not slides and not pictures:  # of folders, as `gdc/*` names them
            slides = [path for path in below(matches) if path.is_file() and is_slide(path)]
        return [SlideTask(path) for path in _sorted([*slides, *pictures])]
    return [SlideTask(source)]


def _matching(pattern: Path) -> list[Path]:
    """What a pattern names, sorted; what there is of its folders is not part of it, even if they have brackets."""
    folder = next(folder for folder in pattern.parents if folder.is_dir() or folder == folder.parent)
    try:
        return sorted(folder.glob(str(pattern.relative_to(folder))))
    except ValueError as error:
        raise DataError(f"{pattern} is no pattern: {error}; ** stands for folders at any depth, and alone") from error


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(filter(Path.is_file, paths), key=lambda path: (path.parent, natural_key(path.name)))


def _one_per_series(tasks: Sequence[SlideTask], left_out: LeftOut) -> list[SlideTask]:
    """Of the files of a DICOM series, levels and parts of one slide, the largest, whose reader finds the rest."""
    files: dict[str, list[SlideTask]] = {}
    for task in tasks:
        files.setdefault(_series(task.path) or str(task), []).append(task)
    slides = [same[0] if len(same) == 1 else max(same, key=_weight) for same in files.values()]
    others = [task.path for task in tasks if task not in slides]
    left_out.tell(others, "levels, parts or labels of slides that other files of their series stand for", slides=False)
    return slides


def _weight(task: SlideTask) -> tuple[bool, int]:
    return not aside(task.path), task.path.stat().st_size


def _series(path: Path) -> str | None:
    if path.suffix.lower() in SLIDES - {".dcm"} | PICTURES or not path.is_file():
        return None
    series = series_of(path)
    return series and f"{path.parent}/{series}"


def _in_table(table: Path) -> Iterator[SlideTask]:
    found = read_table(table)
    unknown = [name for name in found.header if name not in ("slide", "mpp", "region", "image")]
    if "slide" not in found.header or unknown:
        raise DataError(
            f"{table} takes the columns slide, mpp, region and image; its columns are {', '.join(found.header)}"
        )
    for line, row in zip(found.lines, found.rows, strict=True):
        text, region = row.get("mpp", ""), row.get("region", "")
        try:
            mpp = float(text) if text else None
        except ValueError:
            mpp = float("nan")
        if mpp is not None and not MPP[0] <= mpp <= MPP[1]:
            raise DataError(
                f"{table}, line {line}: the µm/px is {text!r}, expected {MPP[0]:g} to {MPP[1]:g}, or nothing"
            )
        if not row["slide"]:
            raise DataError(f"{table}, line {line}: the slide is missing")
        region_file = table.parent / region if region else None
        yield SlideTask(table.parent / row["slide"], mpp, region_file, row.get("image") or None)


def _regions_of(task: SlideTask, regions: Path, slides: int) -> Path:
    if not regions.is_dir():
        if slides > 1:
            raise DataError(
                f"{regions} is one file for {slides} slides; give a folder with one file of each slide's name"
            )
        return regions
    stem = slide_stem(task.path)
    drawn = [path.name for ending in REGIONS[:2] if (path := regions / (stem + ending)).is_file()]
    if len(drawn) > 1:
        raise DataError(f"{regions} holds {' and '.join(drawn)}, and either could be meant; remove one")
    found = find_beside(regions, stem, REGIONS)
    if found is None:
        raise DataError(f"{regions} has no file {slide_stem(task.path)}.geojson; regions go by the name of their slide")
    return found
