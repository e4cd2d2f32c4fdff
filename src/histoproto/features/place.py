"""Where features are kept, what is there, and clearing it.

One place for all runs of a user, so that seeds, methods and comparisons share it: the user's cache folder, or the
folder that the environment variable HISTOPROTO_CACHE names.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from histoproto.errors import OutputError
from histoproto.features.shelf import SHELF_FILE, Description, read_description

VARIABLE = "HISTOPROTO_CACHE"


def features_folder() -> Path:
    """Where features are kept."""
    return Path(os.environ.get(VARIABLE) or platformdirs.user_cache_path("histoproto")) / "features"


@dataclass(frozen=True)
class Holding:
    """What is kept of one encoder at one patch size: its folder, what it says of itself, files and their bytes."""

    folder: Path
    description: Description
    chunks: int
    size: int


def holdings(place: Path | None = None) -> list[Holding]:
    """All that is kept, largest first."""
    found = []
    for file in sorted((place or features_folder()).glob(f"*/{SHELF_FILE}")):
        files = [path.stat().st_size for path in file.parent.glob("*.features")]
        found.append(Holding(file.parent, read_description(file), len(files), sum(files)))
    return sorted(found, key=lambda each: -each.size)


def clear(found: list[Holding]) -> int:
    """Remove what is kept; the bytes that were freed. A run that reads it just now keeps what it has opened (not on
    Windows, where it is refused).

    Raises:
        OutputError: a file that cannot be removed.
    """
    for each in found:
        try:
            shutil.rmtree(each.folder)
        except OSError as error:
            raise OutputError(
                f"{error.filename or each.folder} cannot be removed ({error.strerror}); end what is using it, then "
                "clear again"
            ) from error
    return sum(each.size for each in found)
