"""Which packages of others what is to be written needs: asked before any work."""

from __future__ import annotations

from histoproto.slides.export.probabilities import require_zarr
from histoproto.slides.export.spatial import require_spatialdata
from histoproto.slides.options import SlideOptions


def require_packages(options: SlideOptions) -> None:
    """Do nothing if all packages are there.

    Raises:
        SettingError: one is not installed.
    """
    if options.probabilities or options.uncertainty:
        require_zarr()
    if options.spatialdata:
        require_spatialdata()
