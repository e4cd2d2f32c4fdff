"""How patches were cut: the settings, and `cut.json`, which keeps them beside the patches."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from histoproto.data.groups import Split
from histoproto.documents.ranges import LARGEST_PATCH, MPP, Mpp, in_range
from histoproto.documents.shapes import read_json_as
from histoproto.errors import DocumentError, SettingError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class CutSettings:
    """How regions are cut; what `cut.json` records.

    Attributes:
        size: side of a patch in pixels, after rescaling.
        stride: step between training patches (between all, when a whole folder goes to one split); None: `size`.
        test_stride: step between val and test patches of a split by group; None: `size`.
        minimum: fraction of the patch's pixels from which a tissue counts as present.
        region_mpp: scale of the regions in µm/px, where known.
        mpp: scale of the patches in µm/px; None: that of the regions.
        train_masks: also write the masks of training patches, to `train/mask/`. Weakly supervised methods never read
            them; full supervision, the ceiling they are compared with, needs them.
    """

    size: int = 224
    stride: int | None = None
    test_stride: int | None = None
    minimum: float = 0.05
    region_mpp: float | None = None
    mpp: float | None = None
    train_masks: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "stride", "test_stride"):
            in_range(getattr(self, name), 1, LARGEST_PATCH, f"{name} in pixels")
        in_range(self.minimum, 0, 1, "minimum, a fraction,")
        for scale in (self.region_mpp, self.mpp):
            in_range(scale, *MPP, "µm/px")
        if self.mpp is not None and self.region_mpp is None:
            raise SettingError("patches can be cut at a given µm/px only where that of the regions is given too")

    @property
    def factor(self) -> float:
        """Patch pixels per region pixel."""
        return 1.0 if self.mpp is None or self.region_mpp is None else self.region_mpp / self.mpp


def recorded_mpp(data: Path) -> float | None:
    """The scale in µm/px at which the training patches of a data folder were cut; None where that is not recorded."""
    record = _recorded(data).get("train", _Recorded())
    return record.mpp or record.region_mpp


def recorded_minimum(data: Path, split: Split) -> float:
    """The fraction of a patch from which a tissue counts as present in a split; the default where none is recorded."""
    minimum: float = _recorded(data).get(split, _Recorded()).minimum
    return minimum


def _recorded(data: Path) -> dict[str, _Recorded]:
    path = data / "cut.json"
    if not path.exists():
        return {}
    try:
        return read_json_as(path, dict[str, _Recorded])
    except DocumentError as error:
        raise DocumentError(f"{error}; cut the regions again, or remove the file") from error


class _Recorded(BaseModel):
    """What is read again of `CutSettings` in `cut.json`."""

    mpp: Mpp | None = None
    region_mpp: Mpp | None = None
    minimum: Annotated[float, Field(ge=0, le=1)] = CutSettings.minimum


def write_settings(path: Path, earlier: Path, settings: CutSettings, splits: list[Split]) -> None:
    """Write `path`, a cut.json: what `earlier` holds, and the settings of these splits."""
    record = read_json_as(earlier, dict[str, Any]) if earlier.exists() else {}
    record |= {split: asdict(settings) for split in splits}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
