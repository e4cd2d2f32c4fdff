"""What is left of drawn regions once others lie on them: of two that overlap, the smaller one counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from histoproto.slides.regions.polygons import fill_polygons, paint_polygons

Geometries = NDArray[np.object_]


def smaller_on_top(geometries: Sequence[shapely.Geometry]) -> NDArray[np.intp]:
    """The order in which areas are painted: the largest first; of two alike, the later one lies on top."""
    return np.argsort(-shapely.area(np.array(geometries, dtype=object)), kind="stable")


@dataclass(frozen=True)
class Drawing:
    """Polygons, some of which (`Ignore*`) are cut out of larger ones that they lie on.

    Args:
        polygons: valid, in any order.
        cut_out: whether each is cut out.
    """

    polygons: Sequence[shapely.Geometry]
    cut_out: Sequence[bool]
    cuts: bool = field(init=False)
    """Whether any is cut out."""
    _painted: Geometries = field(init=False)
    _values: NDArray[np.uint8] = field(init=False)
    _tree: shapely.STRtree = field(init=False)

    def __post_init__(self) -> None:
        order = smaller_on_top(self.polygons)
        painted = np.array(self.polygons, dtype=object)[order]
        object.__setattr__(self, "cuts", any(self.cut_out))
        object.__setattr__(self, "_painted", painted)
        object.__setattr__(self, "_values", (~np.array(self.cut_out, dtype=np.bool_)[order]).astype(np.uint8))
        object.__setattr__(self, "_tree", shapely.STRtree(painted))

    def touches(self, boxes: Geometries) -> NDArray[np.bool_]:
        """Which of N boxes share a point with a polygon that is not cut out."""
        box, polygon = self._tree.query(boxes, predicate="intersects")
        found = np.zeros(len(boxes), dtype=np.bool_)
        found[box[self._values[polygon] > 0]] = True
        return found

    def inside(
        self, height: int, width: int, top: float = 0, left: float = 0, downsample: float = 1.0
    ) -> NDArray[np.bool_]:
        """Which pixels of a window are inside: height × width.

        Args:
            height, width: of the window, in its own pixels.
            top, left: of its corner, in the polygons' pixels.
            downsample: the polygons' pixels per pixel of the window.
        """
        box = shapely.box(left, top, left + width * downsample, top + height * downsample)
        near = np.sort(self._tree.query(box))
        polygons = shapely.transform(self._painted[near], lambda points: (points - (left, top)) / downsample)
        if not self.cuts:
            return fill_polygons(polygons, height, width)
        painted = np.zeros((height, width), dtype=np.uint8)
        paint_polygons(painted, polygons, self._values[near])
        return painted > 0
