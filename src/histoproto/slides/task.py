"""A slide to be segmented, as the user named it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SlideTask:
    """A slide to be segmented."""

    path: Path
    mpp: float | None = None
    """µm/px of its level 0, instead of what the file says."""
    regions: Path | None = None
    """What of it: GeoJSON as QuPath writes it, or a mask image; None: its tissue."""
    image: str | None = None
    """Number or name of the image that is meant, of a file of several; None: the largest."""
