"""What the prototypes of a round look for, shown on tiles and on slides."""

from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from histoproto.data.images import read_image
from histoproto.errors import DataError
from histoproto.files import replace_atomically
from histoproto.inference.patches import as_batch, pad_to_stride
from histoproto.model.network import PrototypeNetwork
from histoproto.model.saving import ModelCard, load_card, load_model
from histoproto.report.gallery import spread
from histoproto.report.pictures import draw_outline, enlarge
from histoproto.report.prototypes import OUTLINED, top_views
from histoproto.slides.reading.protocol import SlideReader
from histoproto.studio.features import with_features
from histoproto.studio.maps import Pyramid, map_picture
from histoproto.studio.project import Project
from histoproto.studio.prototypes import directions, recognised, remember, remembered
from histoproto.studio.rounds import model_folder, read_guesses, round_folder

BATCH = 32
TILES = 600
"""That are looked at, spread evenly over those that the round has guessed."""
SHOWN = 8
"""Tiles of each prototype."""
FINEST = 2
"""Slide pixels per pixel of the model, at most, at which a piece of slide is looked at; beyond, tiles speak for it."""
SIDE = 160
"""Of the picture of a tile, in pixels."""


class Gallery:
    """The prototypes of the rounds of a project. Threads may share it; a round is looked at once, when first asked."""

    def __init__(self, project: Project):
        self.project = project
        self._lock = threading.Lock()
        self._kept: tuple[int, PrototypeNetwork, ModelCard, NDArray[np.int64], NDArray[np.float32]] | None = None

    def all(self, number: int) -> list[dict[str, Any]]:
        """Every prototype of a round: its tissue and number, name, whether it is off, the part of its tissue where it
        is the strongest of those that are on, the tiles where it fires most, and the slide of the first of these with
        the middle of that tile in pixels of level 0.

        Raises:
            DataError: there is no such round, or its network has no prototypes.
        """
        network, _, tiles, maps = self._looked(number)
        names, every = self.project.tissues.names, self.project.store.tiles()
        notes, off = remembered(self.project), set(load_card(model_folder(self.project, number)).left_out)
        matches = recognised(notes, directions(network), names)
        shares = strongest_shares(maps, self._present(number, tiles), network.bank.active)
        groups = [every[tile].slide for tile in tiles.tolist()]
        found = []
        for tissue, prototype in np.ndindex(*maps.shape[1:3]):
            note = matches.get((tissue, prototype))
            shown = [int(tiles[at]) for at in top_views(maps[:, tissue, prototype].max(axis=(1, 2)), groups, SHOWN)]
            best = every[shown[0]]
            found.append(
                {
                    "tissue": tissue,
                    "number": prototype,
                    "name": notes[note].name if note is not None else "",
                    "off": (tissue, prototype) in off,
                    "share": round(float(shares[tissue, prototype]), 4),
                    "tiles": shown,
                    "at": {"slide": best.slide, "x": best.x + best.side / 2, "y": best.y + best.side / 2},
                }
            )
        return found

    def name(self, number: int, tissue: int, prototype: int, name: str) -> None:
        """Name a prototype of a round; see `remember`."""
        remember(self.project, model_folder(self.project, number), tissue, prototype, name=name)

    def picture(self, number: int, tissue: int, prototype: int, tile: int) -> bytes:
        """A tile with the outline of where a prototype fires most in it (a fifth of it), as PNG."""
        _, _, tiles, maps = self._looked(number)
        cells = maps[self._place(tiles, tile), *self._which(maps, tissue, prototype)]
        pixels = read_image(self.project.tile_picture(self.project.store.tile(tile)))
        large = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        level = enlarge(cells, SIDE, SIDE)
        strongest = level >= np.quantile(level, 1 - OUTLINED)
        drawn = draw_outline(large, strongest, self.project.tissues.rgb()[tissue], fade=0.3)
        return _png(drawn)

    def piece(
        self,
        number: int,
        tissue: int,
        prototype: int,
        reader: SlideReader,
        slide: str,
        mpp: float,
        place: tuple[int, ...],
    ) -> bytes | None:
        """Where a prototype fires on a slide: a piece as `map_picture` writes one, with a single chance: how strongly.

        0 is the median over the tiles that were looked at, 1 what it exceeds in one cell of 200.
        """
        network, card, tiles, maps = self._looked(number)
        which = self._which(maps, tissue, prototype)
        pyramid = Pyramid(reader.width, reader.height)
        box = pyramid.box(*place)
        if box is None:
            return None
        left, top, width, height = box
        scale, step = (card.mpp or mpp) / mpp, pyramid.downsample(place[0])
        if step <= FINEST * scale:
            wide, high = (int(np.ceil(side * step / scale)) for side in (width, height))
            margin = card.patch_size // 2
            pixels = reader.read(
                left - margin * scale, top - margin * scale, wide + 2 * margin, high + 2 * margin, scale
            )
            with self._lock, torch.inference_mode():
                padded = pad_to_stride(as_batch(pixels[None], torch.device("cpu")))
                cells = network.prototype_maps(padded)[0, *which].float().numpy()
            level = enlarge(cells, *padded.shape[-2:])[margin : margin + high, margin : margin + wide]
            level = enlarge(level, height, width)
        else:
            level = np.full((height, width), -np.inf, np.float32)
            every = self.project.store.tiles()
            for row, tile in enumerate(tiles.tolist()):
                found = every[tile]
                x0, y0 = round((found.x - left) / step), round((found.y - top) / step)
                x1, y1 = round((found.x + found.side - left) / step), round((found.y + found.side - top) / step)
                if found.slide == slide and x1 > 0 and y1 > 0 and x0 < width and y0 < height and x1 > x0 and y1 > y0:
                    patch = enlarge(maps[row, *which], y1 - y0, x1 - x0)
                    inner = patch[max(0, -y0) : height - y0, max(0, -x0) : width - x0]
                    level[max(0, y0) : max(0, y0) + inner.shape[0], max(0, x0) : max(0, x0) + inner.shape[1]] = inner
        low, high_ = np.quantile(maps[:, *which], (0.5, 0.995))
        strength = np.clip((level - low) / max(high_ - low, 1e-6), 0, 1)
        return map_picture(np.zeros(level.shape, np.uint8), (255 * strength[None]).astype(np.uint8))

    def _looked(self, number: int) -> tuple[PrototypeNetwork, ModelCard, NDArray[np.int64], NDArray[np.float32]]:
        """Network, card, tiles (N) and their activation maps (N×C×K×h×w)."""
        with self._lock:
            if self._kept is None or self._kept[0] != number:
                network, card = load_model(model_folder(self.project, number))
                if not isinstance(network, PrototypeNetwork):
                    raise DataError(f"the model of round {number} has no prototypes")
                tiles, maps = self._maps(number, network, card)
                fresh, _ = load_model(model_folder(self.project, number))  # without stored features, for slides
                assert isinstance(fresh, PrototypeNetwork)
                self._kept = number, fresh, card, tiles, maps
            return self._kept[1:]

    def _maps(
        self, number: int, network: PrototypeNetwork, card: ModelCard
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        path = round_folder(self.project, number) / "prototypes.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as file:
                return file["tiles"], file["maps"].astype(np.float32)
        tiles = spread(sorted(read_guesses(self.project, number)), TILES)
        looking = with_features(self.project, network, card.model.encoder)
        assert isinstance(looking, PrototypeNetwork)
        found = []
        for start in range(0, len(tiles), BATCH):
            rows = [self.project.read_tile(self.project.store.tile(tile)) for tile in tiles[start : start + BATCH]]
            with torch.inference_mode():
                found.append(looking.prototype_maps(as_batch(np.stack(rows), torch.device("cpu"))).half().numpy())
        numbers, maps = np.array(tiles, np.int64), np.concatenate(found)
        with replace_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(file, tiles=numbers, maps=maps)
        return numbers, maps.astype(np.float32)

    def _present(self, number: int, tiles: NDArray[np.int64]) -> NDArray[np.bool_]:
        guesses = read_guesses(self.project, number)
        return np.stack([guesses[tile] >= 0.5 for tile in tiles.tolist()])

    @staticmethod
    def _which(maps: NDArray[np.float32], tissue: int, prototype: int) -> tuple[int, int]:
        if not (0 <= tissue < maps.shape[1] and 0 <= prototype < maps.shape[2]):
            raise DataError(f"there is no prototype {prototype} of tissue {tissue}")
        return tissue, prototype

    @staticmethod
    def _place(tiles: NDArray[np.int64], tile: int) -> int:
        found = np.flatnonzero(tiles == tile)
        if not found.size:
            raise DataError(f"tile {tile} was not looked at for its prototypes")
        return int(found[0])


def strongest_shares(
    maps: NDArray[np.float32], present: NDArray[np.bool_], active: torch.Tensor | None = None
) -> NDArray[np.float64]:
    """Of each tissue, the part of its cells where each prototype is the strongest one: C×K, rows sum to 1 (or are 0).

    Cells of a tissue are those of tiles that have it, where one of its prototypes is the strongest of all of the
    tissues that the tile has.

    Args:
        maps: activations, N×C×K×h×w.
        present: which tissues a tile has, N×C.
        active: prototypes that take part, C×K; None: all.
    """
    count, tissues, prototypes = maps.shape[:3]
    allowed = np.broadcast_to(present[:, :, None], (count, tissues, prototypes))
    if active is not None:
        allowed = allowed & active.numpy()
    strength = np.where(allowed[..., None, None], maps, -np.inf).reshape(count, tissues * prototypes, -1)
    best = strength.argmax(axis=1)[present.any(axis=1)]
    cells = np.bincount(best.ravel(), minlength=tissues * prototypes).reshape(tissues, prototypes).astype(np.float64)
    shares: NDArray[np.float64] = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    return shares


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
