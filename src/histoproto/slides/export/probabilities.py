"""Probabilities of all tissues at every pixel, for further computing: an OME-Zarr of one level."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from histoproto.errors import OutputError, SettingError
from histoproto.tissue import TissueSet

CHUNK = 512


def require_zarr() -> Any:
    """The package zarr.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise SettingError(
            "probabilities and uncertainty are kept with zarr, which is not installed: pip install 'histoproto[zarr]'"
        ) from error
    return zarr


class ProbabilityWriter:
    """Writes `probabilities.zarr`, C×H×W uint8 (0 … 255 means 0 … 1) in chunks of C×512×512, a strip at a time.

    A context manager: where the block ends with an error, nothing is left under the final name. Strips of a multiple of
    512 rows are written fastest.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "probabilities.zarr"
    ...     with ProbabilityWriter(path, TissueSet.of("tumour", "stroma"), 20, 30, mpp=0.5) as writer:
    ...         writer.write(0, np.full((2, 20, 30), 0.5, np.float32))
    ...     read_probabilities(path).shape
    (2, 20, 30)
    """

    def __init__(
        self,
        path: Path,
        tissues: TissueSet,
        height: int,
        width: int,
        mpp: float | None,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """Make the array.

        Args:
            path: of the folder; one that is there is replaced in the end.
            tissues: C, one channel each.
            height, width: of the label map.
            mpp: its µm/px, if known.
            attributes: what else is said of the values; None: the factor that makes probabilities of them.

        Raises:
            SettingError: zarr is not installed.
            OutputError: the folder cannot be written.
        """
        zarr = require_zarr()
        said = {"scale_factor": 1 / 255} if attributes is None else attributes
        self._path = path
        self._part = path.with_name(f".{path.name}.partial")
        try:
            shutil.rmtree(self._part, ignore_errors=True)
            group = zarr.create_group(self._part, attributes={"ome": _ome(tissues, mpp), **said})
            self._array = group.create_array(
                "0",
                shape=(len(tissues), height, width),
                chunks=(len(tissues), min(CHUNK, height), min(CHUNK, width)),
                dtype="uint8",
                dimension_names=["c", "y", "x"],
            )
        except OSError as error:
            raise self._unwritten(error) from error

    def write(self, top: int, probabilities: NDArray[np.floating[Any]]) -> None:
        """Put rows (C×h×W, 0 … 1) at that place.

        Raises:
            OutputError: the disk is full.
        """
        try:
            rows = np.clip(np.rint(probabilities * 255), 0, 255).astype(np.uint8)
            self._array[:, top : top + rows.shape[1]] = rows
        except OSError as error:
            raise self._unwritten(error) from error

    def __enter__(self) -> ProbabilityWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                if self._path.exists():
                    shutil.rmtree(self._path)
                self._part.rename(self._path)
            except OSError as failure:
                raise self._unwritten(failure) from failure
        else:
            _discard(self._part)

    def _unwritten(self, error: OSError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error.strerror or error}")


def read_probabilities(path: Path) -> Any:
    """The array of a `probabilities.zarr`: C×H×W uint8, read where it is sliced.

    Raises:
        SettingError: zarr is not installed.
    """
    return require_zarr().open_group(path, mode="r")["0"]


def _discard(folder: Path) -> None:
    """Remove a folder for good: when one chunk has failed, zarr may still be writing others in its threads."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)
        if not folder.exists():
            return


def _ome(tissues: TissueSet, mpp: float | None) -> dict[str, Any]:
    """Metadata of OME-Zarr 0.5, so that viewers know axes, scale, names and colours."""
    unit = {} if mpp is None else {"unit": "micrometer"}
    scale = {"type": "scale", "scale": [1.0, mpp or 1.0, mpp or 1.0]}
    return {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", **unit} for a in "yx")],
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
            }
        ],
        "omero": {
            "channels": [
                {
                    "label": tissue.name,
                    "color": tissue.colour[1:].upper(),
                    "active": True,
                    "window": {"min": 0, "max": 255, "start": 0, "end": 255},
                }
                for tissue in tissues.tissues
            ]
        },
    }
