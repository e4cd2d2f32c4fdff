"""From a slide to its label map: windows through the network, blended in strips, written row by row.

Threads read ahead, the network works in the thread of the caller, and one more thread upsamples and writes, so that
reading, inference and writing overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from histoproto.config import InferenceSettings
from histoproto.inference.background import label_probabilities
from histoproto.inference.doubt import doubt_of, temperature_of, tissue_chances
from histoproto.inference.fusion import Ranges
from histoproto.inference.gating import strongest
from histoproto.inference.large import windowed_crf
from histoproto.inference.patches import Evidence, PatchMaps, add_ranges, as_batch, gated, patch_evidence
from histoproto.inference.places import place_evidence, spread
from histoproto.inference.segmenter import Segmenter
from histoproto.inference.windows import CELL, window_grid
from histoproto.slides.ahead import read_ahead
from histoproto.slides.labelling.batches import Batch, in_batches
from histoproto.slides.labelling.plan import Plan, Tile
from histoproto.slides.labelling.raster import LabelRaster
from histoproto.slides.labelling.scope import Scope
from histoproto.slides.labelling.strip import Rows, Scores, Strip
from histoproto.slides.labelling.tiles import TilePixels, read_padded, read_tile
from histoproto.slides.labelling.trust import Trust
from histoproto.slides.reading.protocol import Pixels, SlideReader

UNDECIDED = 255
"""In the raster, until the scores are known: a pixel that will get a label."""
CHUNK = 128
"""Cells that are upsampled together, along the width of a slide."""


@dataclass
class SlideLabeller:
    """Everything that is needed to label one slide.

    Attributes:
        segmenter: the model.
        reader: the slide.
        plan: its windows.
        scope: what of it gets a label; the rest is background.
        settings: for inference. With glass as background, glass is found in the pixels. Min–max maps and background by
            activation are stretched over the whole slide, for which all windows go through the network twice.
        batch_size: windows that go through the network together.
        readers: threads that read.
        labelled, glass: pixels that got a label, and that got none because they are as bright as glass.
    """

    segmenter: Segmenter
    reader: SlideReader
    plan: Plan
    scope: Scope
    settings: InferenceSettings
    batch_size: int = 8
    readers: int = 1
    labelled: int = 0
    glass: int = 0

    def write(
        self,
        raster: LabelRaster,
        progress: Callable[[int, int], None] | None = None,
        keep: Callable[[int, Scores], None] | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Write the labels of the slide.

        Args:
            raster: of the size of the plan, full of background.
            progress: called with windows done and windows in all.
            keep: called from top to bottom with a row of cells and the probabilities of the tissues from there on,
                C×R×S, all 0 where no window was; those of tissues that are not present are 0 too.
            trust: takes doubt and strangeness of each cell.

        Raises:
            ImageError: the slide is damaged.
            OutputError: the disk is full.
        """
        by_activation = self.settings.background == "activation"
        stretched = by_activation or self.settings.fusion == "minmax"
        total, done = int(self.plan.needed.sum()) * (2 if stretched else 1), 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            if progress:
                progress(done, total)

        self._ranges: Ranges | None = None
        if stretched:
            self._find_ranges(told)
        height, width = self.plan.cells
        step = int(np.diff(self.plan.tops, prepend=0).max()) * self.plan.group
        tissues = len(self.segmenter.tissues)
        layers = 2 if by_activation and self.settings.fusion == "raw" else 1
        channels = (layers + 1) * tissues + 1 + (self.segmenter.strangeness is not None)
        strip = Strip(channels, height, width, self.plan.size, step, self._halo)
        with ThreadPoolExecutor(1, thread_name_prefix="writer") as writer:
            writing: Future[None] | None = None
            for found in self._batches(raster):
                if isinstance(found, Batch):
                    strip.add(found.tops, found.lefts, self._evidence(found, trust))
                    told(len(found.windows))
                else:
                    if writing:
                        writing.result()  # one row of tiles at a time is being written
                    if rows := strip.finish(found):
                        writing = writer.submit(self._write_rows, rows, raster, keep, trust)
                    del rows  # or they would be held until the next are finished
            if writing:
                writing.result()

    @property
    def _halo(self) -> int:
        """Cells beyond a row that its labels depend on: one for interpolation, half a window for the CRF."""
        return self.plan.size // 2 if self.settings.crf else 1

    def _batches(self, raster: LabelRaster | None) -> Iterator[Batch | int]:
        """Windows in batches, and after each row of tiles the row of cells at which the next begins."""
        background, without_glass = self.segmenter.tissues.background_index, self.settings.background == "glass"

        def read(step: Tile | int) -> tuple[Tile, TilePixels] | int:
            if isinstance(step, int):
                return step
            pixels = read_tile(self.reader, self.plan, self.scope, step, without_glass)
            if raster is not None:
                top, left, *_ = step.core
                raster.write(top, left, np.where(pixels.tissue, UNDECIDED, background).astype(np.uint8))
            return step, pixels

        def batches() -> Iterator[Batch | int]:
            for found in read_ahead(read, self.plan.steps(), self.readers):
                if isinstance(found, int):
                    yield found
                    continue
                tile, pixels = found
                if raster is not None:
                    self.labelled += int(pixels.tissue.sum())
                    self.glass += pixels.glass
                for first in range(0, len(tile.tops), self.batch_size):
                    held = slice(first, first + self.batch_size)
                    windows = pixels.windows(first, first + self.batch_size)
                    yield Batch(windows, tile.tops[held], tile.lefts[held], pixels.shares[held])

        return in_batches(batches(), self.batch_size)

    @torch.inference_mode()
    def _evidence(self, batch: Batch, trust: Trust | None) -> Scores:
        """N×L×size×size: what the windows say, to be blended (`places.spread`)."""
        pixels = as_batch(batch.windows, self.segmenter.device)
        known = self.segmenter.strangeness
        evidence = patch_evidence(self.segmenter.network, pixels, self.settings, self._ranges, CELL, known)
        if trust and evidence.strange is not None:
            trust.count(evidence.strange.float().cpu().numpy(), batch.shares)
        return spread(evidence, torch.from_numpy(batch.shares)).float().cpu().numpy()

    @torch.inference_mode()
    def _find_ranges(self, told: Callable[[int], None]) -> None:
        """The range of the maps over all windows."""
        network, thresholds = self.segmenter.network, self.segmenter.thresholds
        for found in self._batches(None):
            if isinstance(found, Batch):
                pixels = as_batch(found.windows, self.segmenter.device)
                self._ranges = add_ranges(self._ranges, network, pixels, thresholds, None)
                told(len(found.windows))

    def _write_rows(
        self, rows: Rows, raster: LabelRaster, keep: Callable[[int, Scores], None] | None, trust: Trust | None
    ) -> None:
        top, bottom = rows.first * CELL, min(rows.last * CELL, raster.height)
        for first in range(0, raster.width, CHUNK * CELL):
            width = min(CHUNK * CELL, raster.width - first)
            block = raster.read(top, first, bottom - top, width)
            wanted = block == UNDECIDED
            if wanted.any():
                block[wanted] = self._decide(rows, first // CELL, bottom - top, width)[wanted]
                raster.write(top, first, block)
        if keep:
            keep(rows.first, self._probabilities(rows))
        if trust:
            self._write_trust(rows, trust)

    @torch.inference_mode()
    def _decide(self, rows: Rows, first: int, height: int, width: int) -> Pixels:
        """Labels of height × width pixels at the top of the rows and from the column `first` (in cells) on."""
        left, right = max(0, first - self._halo), min(rows.scores.shape[2], first + CHUNK + self._halo)
        evidence = self._places(rows.scores[:, :, left:right])
        # Channels last: interpolation and argmax are ten times as fast as on maps one after the other.
        joined = torch.cat([evidence.maps, evidence.logits], dim=1).contiguous(memory_format=torch.channels_last)
        joined = F.interpolate(joined, scale_factor=CELL, mode="bilinear", align_corners=False)
        y, x = (rows.first - rows.top) * CELL, (first - left) * CELL
        if not self.settings.crf:
            joined = joined[:, :, y : y + height, x : x + width]
        pixel = Evidence(*joined.split([evidence.maps.shape[1], evidence.logits.shape[1]], dim=1))
        maps = self._gated(pixel)
        scores = maps.scores if self._plain else self._chances(maps)  # the highest of raw maps is the likeliest
        if self.settings.crf:
            high, wide, size = *scores.shape[2:], self.plan.size * CELL
            pixels = read_padded(self.reader, self.plan, rows.top * CELL, left * CELL, high, wide)
            image, windows = torch.from_numpy(pixels).permute(2, 0, 1)[None], window_grid(high, wide, size, size // 2)
            scores = windowed_crf(image, scores, windows, self.segmenter.device)[:, :, y : y + height, x : x + width]
        labels = strongest(scores)
        if self.settings.abstain:
            if self.settings.crf:
                place = (..., slice(y, y + height), slice(x, x + width))
                pixel = Evidence(pixel.maps[place], pixel.logits[place])
            chance = 1 - doubt_of(self._tissue_chances(pixel), labels)
            labels[chance < self.settings.abstain] = self.segmenter.tissues.uncertain_index
        return labels[0].numpy()

    @torch.inference_mode()
    def _write_trust(self, rows: Rows, trust: Trust) -> None:
        held = slice(rows.first - rows.top, rows.last - rows.top)
        evidence = self._places(rows.scores[:, held])
        maps = self._gated(evidence)
        doubt = doubt_of(self._tissue_chances(evidence), strongest(maps.scores))[0].numpy()
        strange = None if evidence.strange is None else evidence.strange[0, 0].numpy()
        trust.write(rows.first, doubt, strange, rows.covered[held])

    def _tissue_chances(self, evidence: Evidence) -> Tensor:
        temperature, _ = temperature_of(self.segmenter.card, self.settings)
        return tissue_chances(evidence, self.settings, self.segmenter.thresholds.cpu(), temperature)

    @torch.inference_mode()
    def _probabilities(self, rows: Rows) -> Scores:
        held = slice(rows.first - rows.top, rows.last - rows.top)
        chances = self._chances(self._gated(self._places(rows.scores[:, held])))[0].numpy()
        return np.asarray(chances[: len(self.segmenter.tissues)] * rows.covered[held], dtype=np.float32)

    def _places(self, scores: Scores) -> Evidence:
        known = self.segmenter.strangeness is not None
        return place_evidence(torch.from_numpy(scores[None]), len(self.segmenter.tissues), known)

    def _gated(self, evidence: Evidence) -> PatchMaps:
        return gated(evidence, self.settings, self.segmenter.thresholds.cpu())

    @property
    def _plain(self) -> bool:
        return self.settings.fusion == "raw" and self.settings.background != "activation" and not self.settings.crf

    def _chances(self, maps: PatchMaps) -> Tensor:
        """Gated maps as probabilities of the labels, 1×L×H×W."""
        raw = self.settings.fusion == "raw"
        return label_probabilities(maps.scores, maps.present, logits=raw, foreground=maps.foreground)
