"""Bad inputs that need a builder of their own: a call, more arguments, what spoils it, whether it must be refused."""

from __future__ import annotations

import gzip
import json
import warnings
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import tifffile
from PIL import Image

Spoil = Callable[[Path], object]

MIB = 1 << 20


def _gzip_bomb(folder: Path) -> None:
    (folder / "slides" / "slide.geojson").unlink()
    with gzip.open(folder / "slides" / "slide.geojson.gz", "wb", compresslevel=9) as file:
        for _ in range(700):
            file.write(b" " * MIB)


def _alias_bomb(folder: Path) -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{new}: &{new} [{', '.join(f'*{old}' for _ in range(9))}]"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ]
    (folder / "data" / "classes.yaml").write_text("\n".join(lines))


def _card(folder: Path, change: Callable[[dict], object]) -> None:
    path = folder / "run" / "model.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _many_prototypes(folder: Path) -> None:
    _card(folder, lambda card: card["model"].update(prototypes=10**6))


def _no_thresholds(folder: Path) -> None:
    _card(folder, lambda card: card.update(thresholds=[]))


def _deep(folder: Path) -> None:
    (folder / "slides" / "slide.geojson").write_text("[" * 200_000 + "]" * 200_000)


def _picture_bomb(folder: Path) -> None:
    Image.new("1", (40_000, 40_000)).save(folder / "images" / "0.png")


def _zip(
    folder: Path, more: tuple[str, bytes] | None = None, method: int = zipfile.ZIP_STORED, leave: str = ""
) -> None:
    """The zip of the model, with one more member, and without another."""
    with zipfile.ZipFile(folder / "model.zip") as file:
        members = {name: file.read(name) for name in file.namelist() if name != leave}
    with zipfile.ZipFile(folder / "model.zip", "w", method) as file, warnings.catch_warnings(action="ignore"):
        for name, content in (*members.items(), *([more] if more else [])):  # the same name twice is warned of
            file.writestr(name, content)


def _damaged_zip(folder: Path, method: int) -> None:
    _zip(folder, method=method)
    content = bytearray((folder / "model.zip").read_bytes())
    for place in range(100, len(content) - 1000, 97):
        content[place] ^= 0x5A
    (folder / "model.zip").write_bytes(content)


def _encrypted_zip(folder: Path) -> None:
    content = bytearray((folder / "model.zip").read_bytes())
    for sign, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = -1
        while (start := content.find(sign, start + 1)) >= 0:
            content[start + place] |= 1
    (folder / "model.zip").write_bytes(content)


def _folder_of_the_zip(folder: Path) -> None:
    """Where results of the zip would go lies another model."""
    with zipfile.ZipFile(folder / "model.zip") as file:
        file.extractall(folder / "model")
    card = json.loads((folder / "model" / "model.json").read_text())
    card["thresholds"] = [0.9] * len(card["thresholds"])
    (folder / "model" / "model.json").write_text(json.dumps(card))


def _two_masks(folder: Path) -> None:
    Image.new("L", (96, 96)).save(folder / "regions" / "mask" / "p1_a.tif")


def _two_masks_to_test(folder: Path) -> None:
    first = sorted((folder / "data" / "test" / "mask").iterdir())[0]
    Image.open(first).save(first.with_suffix(".tif"))


def _two_images(folder: Path) -> None:
    path = folder / "slides" / "slide.tif"
    picture = tifffile.imread(path)
    tifffile.imwrite(path, np.stack([picture, picture[::-1]]), photometric="rgb", metadata=None)


def _part_of_a_slide(folder: Path) -> None:
    with pydicom.dcmread(folder / "dicom" / "a.dcm") as file:
        file.ConcatenationUID, file.InConcatenationTotalNumber = "1.2.4", 3
        file.save_as(folder / "dicom" / "a.dcm")


def _twin_level(folder: Path) -> None:
    with pydicom.dcmread(folder / "dicom" / "a.dcm") as file:
        file.SOPInstanceUID = "1.2.3.9"
        file.save_as(folder / "dicom" / "c.dcm")


def _escapes(folder: Path) -> None:
    path = folder / "slides" / "slide.tif"
    picture = tifffile.imread(path)
    tifffile.imwrite(path, picture, photometric="rgb", metadata={"axes": "YXS", "Name": "\x1b[2J"}, ome=True)


def _other_tissues(folder: Path) -> None:
    path = folder / "segmented" / "slide" / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"tissues": record["tissues"][::-1]}))


def _postscript(folder: Path) -> None:
    (folder / "images" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")


SINGLE: dict[str, tuple[str, list[str], Spoil, bool]] = {
    "a gzip bomb as regions": ("segment regions", ["--regions", "slides/slide.geojson.gz"], _gzip_bomb, True),
    "an alias bomb as classes": ("data check", [], _alias_bomb, True),
    "a million prototypes": ("predict", [], _many_prototypes, True),
    "no thresholds": ("predict", [], _no_thresholds, True),
    "GeoJSON two hundred thousand levels deep": ("segment regions", [], _deep, True),
    "a picture of 1600 million pixels": ("predict", [], _picture_bomb, True),
    "PostScript called PNG": ("predict", [], _postscript, True),
    "a path out of a zip": ("predict zip", [], partial(_zip, more=("../evil", b"x")), True),
    "an absolute path in a zip": ("predict zip", [], partial(_zip, more=("/tmp/evil", b"x")), True),
    "two cards in a zip": ("predict zip", [], partial(_zip, more=("model.json", b"{}")), True),
    "a zip without weights": ("segment zip", [], partial(_zip, leave="model.safetensors"), True),
    "a zip bomb": (
        "predict zip",
        [],
        partial(
            _zip,
            more=("model.safetensors", bytes(100 * MIB)),
            method=zipfile.ZIP_DEFLATED,
            leave="model.safetensors",
        ),
        True,
    ),
    "a damaged zip": ("predict zip", [], partial(_damaged_zip, method=zipfile.ZIP_DEFLATED), True),
    "a damaged zip of LZMA": ("predict zip", [], partial(_damaged_zip, method=zipfile.ZIP_LZMA), True),
    "a damaged zip of bzip2": ("predict zip", [], partial(_damaged_zip, method=zipfile.ZIP_BZIP2), True),
    "an encrypted zip": ("evaluate zip", [], _encrypted_zip, True),
    "another model beside the zip": ("evaluate zip", [], _folder_of_the_zip, True),
    "two masks for one region": ("evaluate maps of regions", [], _two_masks, True),
    "two masks for one region to cut": ("data cut", [], _two_masks, True),
    "two masks for one test image": ("data check", [], _two_masks_to_test, True),
    "two images in a slide": ("segment", [], _two_images, True),
    "no such image in a slide": ("slide info", ["--image", "3"], _two_images, True),
    "an empty name of an image": ("slide info", ["--image", ""], _two_images, True),
    "a part of a DICOM slide": ("slide info dicom", [], _part_of_a_slide, True),
    "two levels of one size in a DICOM series": ("segment dicom", [], _twin_level, True),
    "escapes in the name of an image": ("slide info", ["--image", "x"], _escapes, True),
    "a map of other tissues": ("measure", [], _other_tissues, True),
}
