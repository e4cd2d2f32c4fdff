"""Bad inputs that need a builder of their own: a call, more arguments, what spoils it, whether it must be refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

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
}
