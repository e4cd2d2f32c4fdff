"""How slides are segmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from histoproto.config import InferenceSettings
from histoproto.documents.ranges import MPP, in_range
from histoproto.errors import SettingError
from histoproto.inference.background import Background
from histoproto.inference.fusion import Fusion
from histoproto.inference.settings import change_settings
from histoproto.inference.windows import OVERLAP
from histoproto.model.saving import ModelCard

MINIMUM_AREA_UM2 = 100.0
"""By default: about a cell. docs/decisions/maps.md says why."""


@dataclass(frozen=True)
class SlideOptions:
    """How slides are segmented; None: as the model was saved."""

    crf: bool | None = None
    views: Literal[1, 6] | None = None
    fusion: Fusion | None = None
    background: Background | None = None
    fast: bool = False
    """Compute in half precision, as `Segmenter.load` does."""
    model_mpp: float | None = None
    """µm/px of the model, for one that does not know it."""
    overlap: float = OVERLAP
    """Share of a window's side that it has in common with the next."""
    batch_size: int | None = None
    """Windows that go through the network together; None: 8 on a processor, whose cache they must fit, 64 on a GPU."""
    readers: int | None = None
    """Threads that read; None: half of the cores."""
    abstain: float | None = None
    """Places whose chance is lower are left `uncertain`, in [0, 1)."""
    uncertainty: bool = False
    """Write doubt and strangeness, `uncertainty.zarr` and `uncertainty.ome.tif`, on the grid of `probabilities`."""
    probabilities: bool = False
    """Write `probabilities.zarr`, on a grid of 8 × 8 pixels: that of the finest activation map."""
    spatialdata: bool = False
    """Write `spatialdata.zarr`."""
    min_area_um2: float = MINIMUM_AREA_UM2
    """Smaller specks of tissue, and smaller holes of glass, get the label of what is around them, in the label map and
    so in all that is made of it; 0: every pixel stays as it is."""
    tolerance_um: float | None = None
    """How much outlines are simplified; 0: not at all; None: by a pixel of the label map."""
    gzip: bool = False
    """Compress the outlines."""

    def __post_init__(self) -> None:
        in_range(self.model_mpp, *MPP, "the µm/px of the model")
        in_range(self.overlap, 0, 0.9, "overlap")
        in_range(self.batch_size, 1, 65536, "batch_size")
        in_range(self.readers, 1, 1024, "readers")
        in_range(self.min_area_um2, 0, 1e12, "min_area in µm²")
        in_range(self.tolerance_um, 0, 1e4, "tolerance in µm")

    def settings(self, defaults: InferenceSettings) -> InferenceSettings:
        """The settings for inference, given those of the model."""
        given = {name: getattr(self, name) for name in ("crf", "views", "fusion", "background", "abstain")}
        return change_settings(defaults, **{name: value for name, value in given.items() if value is not None})

    def scale(self, card: ModelCard) -> float:
        """The µm/px at which slides are read: the model's.

        Raises:
            SettingError: nobody knows.
        """
        mpp = self.model_mpp or card.mpp
        if mpp is None:
            raise SettingError("the model does not know at how many µm/px it was trained; give it with --model-mpp")
        return mpp
