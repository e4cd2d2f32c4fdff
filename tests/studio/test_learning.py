"""What a round does with labels that cannot teach everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from histoproto.errors import DataError
from histoproto.inference.segmenter import Segmenter
from histoproto.model.saving import load_card, load_model
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio import learning
from histoproto.studio.adding import add_slides
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.rounds import model_folder, read_guesses, read_scores
from histoproto.studio.store import Store
from histoproto.studio.workers import Embedder

NAMES = ["tumour", "stroma", "necrosis"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    path = tmp_path / "s.tif"
    write_phantom_slide(path, width=512, height=384, mpp=1.0, field=128, distinct=4, glass=0.0)
    made = Project.create(tmp_path / "project", ProjectSettings.of(NAMES, mpp=1.0, tile=64, checks=0.0))
    add_slides(made, [SlideTask(path)])
    return made


def say(project: Project, *ticks: list[str]) -> None:
    for tile, own in zip(project.store.tiles(), ticks, strict=False):
        project.store.say("AB", tile, "label", own)


def test_a_tissue_that_is_nowhere_or_everywhere_does_not_stop_the_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "STEPS", 3)
    say(project, *[["tumour", "stroma"], ["stroma"]] * 6)
    assert learning.learn(project) == 1
    score = read_scores(project)[0]
    assert (score.untaught, score.everywhere) == (("necrosis",), ("stroma",))
    assert load_card(model_folder(project, 1)).remainder == (1,)
    chances = np.stack(list(read_guesses(project, 1).values()))
    assert np.isfinite(chances).all()


@pytest.mark.parametrize(
    ("ticks", "wanted"),
    [(["tumour", "stroma"], "label a tile without stroma"), ([], "label a tile with tumour or stroma or necrosis")],
)
def test_labels_that_all_say_the_same_are_refused_with_what_to_label(
    project: Project, ticks: list[str], wanted: str
) -> None:
    say(project, *[ticks] * 6)
    with pytest.raises(DataError, match=wanted):
        learning.learn(project)


def test_too_few_labels_say_how_many_are_needed(project: Project) -> None:
    say(project, ["tumour"], ["stroma"])
    with pytest.raises(DataError, match="at least 4"):
        learning.learn(project)


def test_what_is_kept_of_tiles_gives_the_guesses_of_their_pictures(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "STEPS", 3)
    say(project, *[["tumour", "stroma"], ["stroma"], []] * 3)
    embedder = Embedder(project)
    embedder.start()
    embedder.wait()
    learning.learn(project)
    kept = read_guesses(project, 1)
    assert len(project.store.digests()) == len(kept) == len(project.store.tiles())
    monkeypatch.setattr(Store, "digests", lambda self: {})
    network, card = load_model(model_folder(project, 1))
    seen = learning.guess(project, Segmenter(network, card, "cpu"), list(project.store.tiles().values()))
    np.testing.assert_allclose(np.stack([kept[tile] for tile in project.store.tiles()]), seen, atol=5e-3)
