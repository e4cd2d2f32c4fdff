"""What the queue is told of the tiles that have been looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from histoproto.studio.pool import SMALL_ONES, Pool
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.records import SlideRow


def project_of(folder: Path) -> Project:
    """A slide of ten tiles, two patches of one tile each."""
    made = Project.create(folder, ProjectSettings.of(["tumour", "stroma"]))
    for slide, count in (("p1", 1), ("a", 10), ("p2", 1)):
        tiles = [(128.0 * index, 0.0, 128.0, index % 5 == 4) for index in range(count)]
        made.store.add_slide(SlideRow(slide, Path(f"/slides/{slide}"), 0.5, 1280, 128), tiles)
    return made


def test_known_is_what_the_store_and_the_last_model_say(tmp_path: Path) -> None:
    project = project_of(tmp_path / "project")
    pool = Pool(project)
    assert not len(pool.known({}, (), 0, {}).space)
    project.store.embed([6, 12], np.eye(2, 4, dtype=np.float16))
    project.store.embed([1, 2], np.eye(2, 4, 2, dtype=np.float16))
    project.store.say("AB", 6, "label", ["stroma"])
    project.store.say("AB", 3, "label", ["stroma"])  # has not been looked at yet
    project.store.say("AB", 1, "unsure")
    known = pool.known(project.store.labels(), {12}, 2, {6: np.array([0.1, 0.9], np.float32)})
    assert [tile.id for tile in pool.tiles] == [6, 12, 1, 2]
    assert known.done.tolist() == [True, True, True, False]
    assert known.ticks.tolist() == [[0, 1], [-1, -1], [-1, -1], [-1, -1]]
    assert known.checks.tolist() == [True, False, False, False]
    assert known.chances is not None
    np.testing.assert_allclose(known.chances[:2], [[0.1, 0.9], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_array_equal(known.space.unit, np.eye(4, dtype=np.float32))
    assert known.slide_names == ["a", SMALL_ONES]
    assert known.slides.tolist() == [0, 1, 1, 0]
