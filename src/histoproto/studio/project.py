"""A project: one folder with the settings, the labels, the tiles and the models of every round."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from histoproto.data.images import read_image, write_image
from histoproto.data.staging import new_folder, refuse_if_filled
from histoproto.documents.tables import write_table
from histoproto.documents.yaml_file import read_yaml
from histoproto.errors import DataError, OutputError, SettingError
from histoproto.files import replace_atomically
from histoproto.slides.reading.opening import open_slide
from histoproto.studio.records import SlideRow, Tile
from histoproto.studio.store import Store
from histoproto.tissue import TissueSet
from histoproto.version import __version__

Pixels = NDArray[np.uint8]

PROJECT_FILE, LABELS_FILE = "project.yaml", "labels.sqlite"
COLOURS = ("#d55e00", "#009e73", "#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#8c6d31", "#5b5b5b", "#f0e442")
"""Of new tissues: those of Okabe and Ito, which colour-blind people tell apart, and two more."""


class ProjectSettings(BaseModel):
    """What a project is about; written to `project.yaml` and, but for `doubles`, not changed afterwards.

    Attributes:
        tissues: as `TissueSet.from_dict` takes them.
        mpp: µm/px at which tiles are labelled and the model is trained.
        tile: side of a tile in pixels of that scale.
        checks: part of the tiles that is never trained on and gives the honest score.
        doubles: part of what each person is given that another has labelled already.
        seed: decides which tiles are for checks.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tissues: dict[str, Any]
    mpp: Annotated[float, Field(gt=0.05, le=10)] = 0.5
    tile: Annotated[int, Field(ge=64, le=512, multiple_of=16)] = 128
    checks: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    doubles: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    seed: Annotated[int, Field(ge=0)] = 0

    @field_validator("tissues")
    @classmethod
    def _are_tissues(cls, value: dict[str, Any]) -> dict[str, Any]:
        return TissueSet.from_dict(value, "the tissues").to_dict()

    @classmethod
    def of(cls, tissues: Sequence[str], **others: Any) -> ProjectSettings:
        """Settings with tissues by name, in colours that colour-blind people tell apart.

        Raises:
            SettingError: a value out of range; TissueError: names that will not do.
        """
        classes = [{"name": name, "colour": COLOURS[i % len(COLOURS)]} for i, name in enumerate(tissues)]
        return cls.checked({"tissues": TissueSet.from_dict({"classes": classes}).to_dict(), **others})

    @classmethod
    def checked(cls, content: Any, source: str = "the project") -> ProjectSettings:
        """From what a file or a page says.

        Raises:
            SettingError: an unknown key, or a value of the wrong type or out of range.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "its content"
            if first["type"] == "extra_forbidden":
                raise SettingError(
                    f"{source}: {where} is no setting that HistoProto {__version__} knows; was the project made by a "
                    "newer version?"
                ) from error
            raise SettingError(f"{source}: {where}: {first['msg']}, found {str(first['input'])[:60]!r}") from error

    def write(self, path: Path) -> None:
        """Write them as `project.yaml` has them."""
        with replace_atomically(path) as temporary:
            temporary.write_text(yaml.safe_dump(self.model_dump(), sort_keys=False, allow_unicode=True), "utf-8")


@dataclass(frozen=True)
class Project:
    """An open project.

    Attributes:
        folder: holds `project.yaml`, `labels.sqlite`, `tiles/` (pictures of the labelled tiles) and `rounds/`.
        settings: what it is about.
        store: its labels.
    """

    folder: Path
    settings: ProjectSettings
    store: Store

    @classmethod
    def create(cls, folder: Path, settings: ProjectSettings) -> Project:
        """Make a new project in a folder that is empty or not there.

        Raises:
            OutputError: something is in the way, or it cannot be written.
        """
        refuse_another(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {folder} cannot be made: {error.strerror or error}") from error
        settings.write(folder / PROJECT_FILE)
        project = cls(folder, settings, Store(folder / LABELS_FILE))
        project.store.know_tissues(project.tissues.names)
        return project

    @classmethod
    def open(cls, folder: Path) -> Project:
        """Open a project that is there.

        Raises:
            DataError: it is none; SettingError: its settings are malformed, or labels name a tissue that is not among
                them.
        """
        path = folder / PROJECT_FILE
        if not path.is_file():
            raise DataError(f"{folder} is no project of the studio ({PROJECT_FILE} is missing)")
        project = cls(folder, ProjectSettings.checked(read_yaml(path), str(path)), Store(folder / LABELS_FILE))
        try:
            project.store.know_tissues(project.tissues.names)
        except BaseException:
            project.store.close()
            raise
        return project

    def with_doubles(self, share: float) -> Project:
        """The project with another part of second readings, kept in `project.yaml`.

        Raises:
            SettingError: it is not in [0, 0.5]; OutputError: the file cannot be written.
        """
        settings = ProjectSettings.checked({**self.settings.model_dump(), "doubles": share}, "second readings")
        settings.write(self.folder / PROJECT_FILE)
        return replace(self, settings=settings)

    @property
    def tissues(self) -> TissueSet:
        """The tissues that can be ticked."""
        return TissueSet.from_dict(self.settings.tissues)

    def is_check(self, slide: str, index: int) -> bool:
        """Whether a tile belongs to the random share; the same in every copy of the project."""
        digest = hashlib.sha256(f"{self.settings.seed}/{slide}/{index}".encode()).digest()
        return int.from_bytes(digest[:4], "big") < self.settings.checks * 2**32

    def picture_path(self, tile: Tile) -> Path:
        """Where the picture of a tile is, or will be."""
        return self.folder / "tiles" / f"{tile.id:07d}.png"

    def tile_picture(self, tile: Tile, slide: SlideRow | None = None) -> Path:
        """The picture of a tile at the scale of the project, read from its slide the first time."""
        path = self.picture_path(tile)
        if not path.is_file():
            row = slide or next(row for row in self.store.slides() if row.name == tile.slide)
            with open_slide(row.path, row.mpp) as reader, replace_atomically(path) as temporary:
                size = self.settings.tile
                write_image(temporary, reader.read(tile.x, tile.y, size, size, tile.side / size))
        return path

    def export_labels(self, out: Path, checks: bool = False) -> int:
        """Write the labelled tiles as a data folder that `histoproto train` reads; their number.

        Those excluded or unsure stay out. `labels.csv` lists what may be trained on. Tiles of the random share are on
        the same slides, so they are no part of it, not even for testing: they have `checks.csv` and `checks/` beside.

        Args:
            out: a new folder.
            checks: write those of the random share, too.

        Raises:
            DataError: nothing is labelled yet.
            OutputError: it cannot be written.
        """
        refuse_if_filled(out)
        with suppress(OSError):
            out.rmdir()  # empty
        tiles = self.store.tiles()
        slides = {slide.name: slide for slide in self.store.slides()}
        labels = [label for _, label in sorted(self.store.labels().items()) if label.verdict == "label"]
        if all(tiles[label.tile].checks for label in labels):
            raise DataError("no tile that may be trained on is labelled yet; label some tiles first")
        written = 0
        with new_folder(out) as part:
            for name, folder, random in (("labels", "tiles", False), ("checks", "checks", True)):
                own = [(tiles[label.tile], label.ticks) for label in labels if tiles[label.tile].checks == random]
                if not own or (random and not checks):
                    continue
                (part / folder).mkdir()
                table = []
                for tile, ticks in own:
                    picture = self.tile_picture(tile, slides[tile.slide])
                    link(picture, part / folder / picture.name)
                    marks = [str(int(tissue in ticks)) for tissue in self.tissues.names]
                    table.append([f"{folder}/{picture.name}", *marks, tile.slide])
                write_table(part / f"{name}.csv", ["image", *self.tissues.names, "group"], table)
                written += len(own)
            self.tissues.write(part / "classes.yaml")
        return written

    def read_tile(self, tile: Tile) -> Pixels:
        """Pixels of a tile at the scale of the project, tile×tile×3 RGB."""
        return read_image(self.tile_picture(tile))


def refuse_another(folder: Path) -> None:
    """Refuse a folder for a new project that holds something else.

    Raises:
        OutputError: it does.
    """
    if folder.is_file() or (folder.is_dir() and any(path.name != ".lock" for path in folder.iterdir())):
        raise OutputError(f"{folder} is there already and no project; remove it or choose another --project")


def link(source: Path, target: Path) -> None:
    """Have a file under another name too, or a copy of it."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
