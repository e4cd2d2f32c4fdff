"""The table of bad inputs: by option, by file, by value in a file, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path

from campaign.commands import CALLS, call_with, options
from campaign.damage import NO_CONTENT, NO_FILE, TEXT, VALUES, changed, leaves, read, without, write
from campaign.single import SINGLE

VALUES_PER_LEAF = 3


@dataclass(frozen=True)
class Case:
    """A bad input.

    Attributes:
        name: says what is wrong with it.
        arguments: of the command.
        needs: good inputs to begin with.
        spoil: makes them bad, in the folder where the command will run.
        refused: whether nothing but a refusal will do.
    """

    name: str
    arguments: list[str]
    needs: list[str]
    spoil: Callable[[Path], object] = field(default=lambda folder: None)
    refused: bool = True


NO_NUMBERS = ("nan", "inf", "-inf", "-1", "1e308", "-0.5", "x", "", "9" * 400, "1_0 0", "０x")
NO_TEXT = ("", "[/x]", "a\nb", "\x1b[31mred", "x" * 5000, "\udcff\udcfe", "../../x", "a**b", "🫀")
NO_PATHS = (
    "",
    "nowhere/at/all",
    "x" * 300,
    "a\nb",
    "\udcff",
    "pipe",
    "dead",
    "loop",
    "/dev/zero",
    "/proc/self/mem",
    "[/x]",
)


def of_options() -> Iterator[Case]:
    """Every option of every command, with what is none of its values."""
    for option in options():
        call = CALLS[option.command]
        values = {int: NO_NUMBERS, float: NO_NUMBERS, str: NO_TEXT, Path: NO_PATHS}[option.type]
        for value in values:
            if not (call.quick or call.refused) and value not in ("nan", "-1", "x" * 300):
                continue
            yield Case(
                f"{option.command} {option.name} {_short(value)}",
                call_with(option, value),
                call.needs,
                _with_odd_files,
                refused=option.type in (int, float),
            )


def _with_odd_files(folder: Path) -> None:
    import os

    os.mkfifo(folder / "pipe")
    (folder / "dead").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")


FILES = (
    ("data/classes.yaml", ("data check", "train")),
    ("data/cut.json", ("train",)),
    ("data/test/img/{0}", ("evaluate", "data check")),
    ("data/test/mask/{0}", ("evaluate", "data check")),
    ("data/train/{0}", ("train", "data check")),
    ("table/labels.csv", ("data check table",)),
    ("regions/classes.yaml", ("data cut",)),
    ("regions/img/p1_a.png", ("data cut",)),
    ("regions/mask/p1_a.png", ("data cut", "evaluate maps of regions")),
    ("patients.csv", ("data cut groups",)),
    ("run/model.json", ("predict", "segment", "evaluate", "report", "export", "prototypes")),
    ("run/model.safetensors", ("predict", "segment", "export")),
    ("run/record.json", ("report",)),
    ("run/metrics.json", ("report", "evaluate")),
    ("run/history.csv", ("report",)),
    ("run/config.yaml", ("report", "train config", "train resume")),
    ("onnx/model.onnx", ("predict onnx",)),
    ("model.zip", ("predict zip", "evaluate zip", "segment zip")),
    ("dicom/a.dcm", ("slide info dicom", "segment dicom")),
    ("onnx/model.json", ("predict onnx",)),
    ("slides/slide.tif", ("segment", "data tiles", "predict slide", "slide info")),
    ("slides/slide.geojson", ("segment regions", "data cut slides", "evaluate maps", "measure regions")),
    ("slides.csv", ("segment table",)),
    ("images/0.png", ("predict",)),
    ("segmented/slide/record.json", ("segment again", "measure")),
    ("segmented/slide/areas.csv", ("segment again", "segment rehearsed")),
    ("segmented/slide/measures.csv", ("segment again",)),
    ("segmented/slide/tissue.ome.tif", ("measure",)),
    ("comparison/comparison.json", ("compare",)),
    ("comparison/lpd/seed-0/metrics.json", ("compare",)),
    ("comparison/lpd/seed-0/prototypes.json", ("compare",)),
    ("comparison/lpd/seed-0/record.json", ("compare",)),
    ("comparison/lpd/seed-0/model.json", ("compare",)),
    ("comparison/lpd/seed-0/config.yaml", ("compare",)),
)
"""Files that commands read, with the calls that read them; `{0}` stands for the first file of the folder."""

MORE_CALLS = {
    "data check table": (["data", "check", "table"], ["table"]),
    "data cut groups": (
        ["data", "cut", "regions", "--out", "out", "--size", "32", "--groups", "patients.csv", "--test-groups", "one"],
        ["regions", "patients.csv"],
    ),
    "data cut slides": (["data", "cut", "slides", "--out", "out", "--size", "32", "--mpp", "1"], ["slides"]),
    "train config": (["train", "data", "--out", "out", "--no-report", "--config", "run/config.yaml"], ["data", "run"]),
    "train resume": (["train", "data", "--out", "run", "--no-report", "--resume"], ["data", "run"]),
    "predict onnx": (["predict", "onnx", "images", "--out", "out"], ["onnx", "images"]),
    "predict slide": (["predict", "run", "slides/slide.tif", "--out", "out"], ["run", "slides"]),
    "segment regions": (
        ["segment", "run", "slides/slide.tif", "--out", "out", "--regions", "slides/slide.geojson"],
        ["run", "slides"],
    ),
    "segment table": (["segment", "run", "slides.csv", "--out", "out"], ["run", "slides", "slides.csv"]),
    "predict zip": (["predict", "model.zip", "images", "--out", "out"], ["model.zip", "images"]),
    "evaluate zip": (["evaluate", "model.zip", "data"], ["model.zip", "data"]),
    "segment zip": (["segment", "model.zip", "slides", "--out", "out", "--dry-run"], ["model.zip", "slides"]),
    "slide info dicom": (["slide", "info", "dicom"], ["dicom"]),
    "segment dicom": (["segment", "run", "dicom", "--out", "out"], ["run", "dicom"]),
    "evaluate maps": (["evaluate", "run", "slides", "--maps"], ["run", "slides"]),
    "evaluate maps of regions": (["evaluate", "run", "regions", "--maps", "--mpp", "1"], ["run", "regions"]),
    "measure regions": (
        ["measure", "segmented", "--out", "out.csv", "--regions", "slides/slide.geojson"],
        ["segmented", "slides"],
    ),
    "segment rehearsed": (
        ["segment", "run", "slides", "--out", "segmented", "--dry-run"],
        ["run", "slides", "segmented"],
    ),
    "segment again": (["segment", "run", "slides", "--out", "segmented"], ["run", "slides", "segmented"]),
}


def call(name: str) -> tuple[list[str], list[str]]:
    """Arguments and needs of a call."""
    if name in MORE_CALLS:
        return MORE_CALLS[name]
    return [*name.split(), *CALLS[name].arguments], CALLS[name].needs


def find(folder: Path, file: str) -> Path:
    """The file itself."""
    path = folder / file
    return sorted(path.parent.iterdir())[0] if path.name == "{0}" else path


def of_files() -> Iterator[Case]:
    """Every file that a command reads, damaged in every way."""
    turn = count()
    for file, calls in FILES:
        for what, damage in (NO_FILE | NO_CONTENT | TEXT).items():
            name = calls[next(turn) % len(calls)]
            arguments, needs = call(name)
            yield Case(
                f"{name}, {file} is {what}",
                arguments,
                needs,
                lambda folder, file=file, damage=damage: damage(find(folder, file)),
                refused=_must_be_refused(file, what),
            )


def _must_be_refused(file: str, what: str) -> bool:
    """Some files may be missing; a damaged result of a slide is made anew; the rest is never passed over."""
    if file.startswith("segmented") or (file.startswith("dicom") and what in NO_FILE):
        return False  # the other file of the slide is one by itself
    optional = (
        "cut.json",
        "groups.csv",
        "record.json",
        "metrics.json",
        "history.csv",
        "config.yaml",
        "prototypes.json",
        "classes.yaml",
        "comparison/lpd/seed-0/model.json",
        "slide.geojson",
        "data/test",
        "data/train",
        "images",
        "regions/mask",
        "regions/img",
        "slides/slide.tif",
        "dicom/a.dcm",
    )
    if what in ("missing", "a folder", "a dead link", "a loop of links"):
        return not any(part in file for part in optional)
    return what not in ("cut off", "scrambled", "a damaged end", "empty")


def of_values(good: Path) -> Iterator[Case]:
    """Every value in a file of values, replaced by some that have no business there, and left out."""
    turn = count()
    names = list(VALUES)
    for file, calls in FILES:
        if not file.endswith((".json", ".yaml", ".geojson")) or not (good / file).exists():
            continue
        content = read(good / file)
        for path in leaves(content):
            number = next(turn)
            arguments, needs = call(calls[number % len(calls)])
            chosen = [names[(number * 7 + 5 * i) % len(names)] for i in range(VALUES_PER_LEAF)]
            where = f"{calls[number % len(calls)]}, {file} {'.'.join(map(str, path))}"
            for what in chosen:
                spoil = partial(_write, file, changed(content, path, VALUES[what]))
                yield Case(f"{where} is {what}", arguments, needs, spoil, refused=False)
            yield Case(
                f"{where} is left out", arguments, needs, partial(_write, file, without(content, path)), refused=False
            )


def _write(file: str, content: object, folder: Path) -> None:
    write(folder / file, content)


def one_by_one() -> Iterator[Case]:
    """What needs a builder of its own."""
    for name, (base, more, spoil, refused) in SINGLE.items():
        arguments, needs = call(base)
        yield Case(name, [*arguments, *more], needs, spoil, refused)


def every(good: Path) -> list[Case]:
    """All cases but those that are made one by one."""
    return [*of_options(), *of_files(), *of_values(good)]


def _short(value: str) -> str:
    return repr(value if len(value) < 30 else f"{value[:10]}…{len(value)}")
