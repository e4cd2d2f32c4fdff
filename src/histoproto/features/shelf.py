"""A shelf: all features of one encoder at one patch size, by name, on disk.

Any number of processes may read it and add to it at any time. Chunks are never changed, so readers need no lock;
whoever computes holds one for as long as a chunk takes, looks again at what is there, and computes only what is
missing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from histoproto.documents.shapes import read_json_as
from histoproto.errors import DataError, DocumentError
from histoproto.features.chunk import SUFFIX, Chunk, Rows, write_chunk
from histoproto.files import replace_atomically
from histoproto.model.encoder import Encoder

SHELF_FILE = "shelf.json"
FORMAT = 1


class Description(BaseModel):
    """What a shelf says of itself."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    encoder: str
    weights: str
    """Fingerprint of its weights and normalisation."""
    patch_size: int
    maps: tuple[tuple[int, int, int], ...]
    """C_s, H_s, W_s of each scale."""

    @property
    def length(self) -> int:
        """Numbers per view."""
        return sum(c * h * w for c, h, w in self.maps)


def read_description(path: Path) -> Description:
    """That of a `shelf.json`.

    Raises:
        DataError: it is damaged.
    """
    try:
        return read_json_as(path, Description)
    except DocumentError as error:
        raise DataError(f"{path} cannot be read; remove the folder {path.parent}, it is only a cache") from error


def weights_fingerprint(encoder: Encoder) -> str:
    """A hash of all that turns an image into features, as far as it is numbers: weights, statistics, normalisation,
    enlargement."""
    found = hashlib.sha256()
    if encoder.blueprint is not None and encoder.blueprint.maps == "tokens":
        # Depths and enlargement are no weights.
        found.update(encoder.blueprint.model_dump_json(exclude={"licence"}).encode())
    elif encoder.input_scale != 1:
        found.update(f"enlarged {encoder.input_scale:g}".encode())
    values = {"mean": encoder.mean, "std": encoder.std, **encoder.state_dict()}
    for name, value in sorted(values.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        if value.ndim:  # what has none counts batches, and changes nothing
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@torch.inference_mode()
def describe(encoder: Encoder, name: str, patch_size: int) -> Description:
    """What a shelf for this encoder says of itself; `name` is for people."""
    device = next(encoder.parameters()).device
    encoder.eval()
    maps = encoder(torch.zeros(1, 3, patch_size, patch_size, device=device))
    shapes = tuple((m.shape[1], m.shape[2], m.shape[3]) for m in maps)
    return Description(encoder=name, weights=weights_fingerprint(encoder), patch_size=patch_size, maps=shapes)


class Shelf:
    """Features by name.

    Args:
        place: the folder of all shelves.
        description: whose features; the shelf is made if there is none.
    """

    def __init__(self, place: Path, description: Description):
        name = re.sub(r"[^\w.=+-]+", "-", description.encoder)[-60:].strip("-.")
        self.folder = place / f"{name}-{description.patch_size}px-{description.weights[:12]}-{FORMAT}"
        self.description = description
        if not (self.folder / SHELF_FILE).is_file():
            with replace_atomically(self.folder / SHELF_FILE) as temporary:
                temporary.write_text(description.model_dump_json(indent=2), encoding="utf-8")
        self._place = place
        self._chunks: dict[str, Chunk | None] = {}
        self._places: dict[bytes, tuple[Chunk, int]] = {}
        self.refresh()

    def __reduce__(self) -> tuple[type[Shelf], tuple[Path, Description]]:
        """A process that loads patches opens the files itself."""
        return Shelf, (self._place, self.description)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def refresh(self) -> None:
        """Take notice of what others have added."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path.name in self._chunks:
                continue
            try:
                chunk = Chunk(path, self.description.length)
            except (ValueError, OSError):  # damaged, or just cleared: as if it were not there
                self._chunks[path.name] = None
                continue
            self._chunks[path.name] = chunk
            self._places.update({key: (chunk, index) for index, key in enumerate(chunk.keys)})

    def missing(self, keys: Iterable[bytes]) -> set[bytes]:
        """Those that are not there, or not as they were written."""
        wanted = set(keys)
        for key in wanted & self._places.keys():
            if key in self._places:  # its chunk may have been dropped for another's sake
                chunk, index = self._places[key]
                try:
                    chunk.row(index)
                except ValueError:
                    self._drop(chunk)
        return wanted - self._places.keys()

    def _drop(self, chunk: Chunk) -> None:
        """Remove a damaged chunk: what it holds is computed anew, and it must not come before that."""
        self._places = {key: place for key, place in self._places.items() if place[0] is not chunk}
        with suppress(OSError):
            chunk.path.unlink()

    def read(self, key: bytes) -> list[Tensor]:
        """The features of a name: C_s×H_s×W_s of each scale, in half precision, as they are kept.

        Raises:
            KeyError: it is not there.
            DataError: it was damaged since it was last looked at.
        """
        chunk, index = self._places[key]
        try:
            row = torch.from_numpy(chunk.row(index))
        except ValueError as error:
            raise DataError(f"{chunk.path} was damaged; start again, and what is lost is computed anew") from error
        parts = row.split([c * h * w for c, h, w in self.description.maps])
        return [part.view(shape) for part, shape in zip(parts, self.description.maps, strict=True)]

    def add(self, keys: list[bytes], maps: Sequence[Tensor]) -> None:
        """Write features under their names; maps N×C_s×H_s×W_s of each scale.

        Raises:
            OutputError: the disk is full, or the folder cannot be written to.
            DataError: features that half precision cannot hold.
        """
        rows: Rows = torch.cat([m.detach().flatten(1) for m in maps], dim=1).to("cpu", torch.float16).numpy()
        if not np.isfinite(rows).all():
            raise DataError(
                f"features of {self.description.encoder} are infinite or too large for half precision; use "
                "--set training.tuning=full"
            )
        write_chunk(self.folder / f"{secrets.token_hex(8)}{SUFFIX}", keys, rows)
        self.refresh()

    def lock(self) -> FileLock:
        """Held by whoever computes."""
        return FileLock(self.folder / ".lock")
