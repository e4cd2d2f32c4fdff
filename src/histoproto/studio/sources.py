"""What a person names as slides: slides, or folders of patches and small regions as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from histoproto.data.images import list_images
from histoproto.data.table import find_table, read_labels
from histoproto.errors import DataError, ImageError
from histoproto.slides.many.folders import LeftOut, slides_in
from histoproto.slides.many.tasks import find_slides
from histoproto.slides.task import SlideTask


def find_sources(sources: Sequence[Path], mpp: float | None = None) -> list[SlideTask]:
    """As `find_slides`; and of a folder with a table of image labels the images it lists, of one without slides the
    pictures in it.

    Args:
        sources: what the user named.
        mpp: µm/px of what does not say it.

    Raises:
        DataError: see `find_slides`; or a table names one of several images of a file.
    """
    tasks = find_slides([path for source in sources for path in _expanded(source)], mpp)
    if chosen := [task for task in tasks if task.image]:
        raise DataError(
            f"the studio cannot choose image {chosen[0].image} of {chosen[0].path}; save it as a file of its own"
        )
    return tasks


def _expanded(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    if table := find_table(source):
        return [table.parent / row.image for row in read_labels(table).rows]
    if slides_in(source, LeftOut()):
        return [source]
    try:
        return list(list_images(source))
    except (DataError, ImageError):
        return [source]  # it is told there what is missing
