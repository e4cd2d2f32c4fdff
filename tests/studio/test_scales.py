"""A slide of unknown µm/px waits until a person says it, is added then, and is asked for again after a restart."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import tifffile
from PIL import Image
from starlette.testclient import TestClient

from histoproto.errors import DataError, SettingError
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio.project import ProjectSettings
from histoproto.studio.scales import WAITING_FILE, Scales, Waiting, answered
from histoproto.studio.server import make_app
from histoproto.studio.session import Session

SETTINGS = ProjectSettings.of(["tumour", "stroma"], mpp=1.0, tile=64)


@pytest.fixture
def slides(tmp_path: Path) -> list[SlideTask]:
    """One that says its µm/px, and two pictures that do not."""
    write_phantom_slide(tmp_path / "a.tif", width=512, height=384, mpp=1.0, field=128, distinct=4, glass=0.0)
    for name, left in (("b", 0), ("c", 256)):
        Image.fromarray(tifffile.imread(tmp_path / "a.tif")[:256, left : left + 256]).save(tmp_path / f"{name}.png")
    return [SlideTask(tmp_path / name) for name in ("a.tif", "b.png", "c.png")]


def settle(session: Session) -> None:
    """Until all is added and looked at that can be."""
    until = time.monotonic() + 120
    while session.beginning._adding or (session.beginning.embedder and session.beginning.embedder.working):
        assert time.monotonic() < until
        time.sleep(0.02)


def settled(folder: Path, slides: list[SlideTask]) -> Session:
    """A new project of these slides."""
    session = Session(folder, slides, automatic=False)
    session.begin(SETTINGS)
    settle(session)
    return session


def names(session: Session) -> list[str]:
    return [slide.name for slide in session.opened().store.slides()]


def test_what_is_said_on_the_page_adds_the_slide_at_once_and_after_a_restart(
    slides: list[SlideTask], tmp_path: Path
) -> None:
    session = settled(tmp_path / "p", slides)
    assert names(session) == ["a"]
    assert [(one.name, one.width, one.height) for one in session.beginning.waiting()] == [
        ("b", 256, 256),
        ("c", 256, 256),
    ]
    assert session.beginning.problem == ""  # nothing is wrong; something is asked
    with pytest.raises(DataError, match=r"b\.png does not say how many µm a pixel is wide"):
        session.wait()  # for whoever works without the page
    before = len(session.opened().store.embeddings()[0])
    session.beginning.use(session.opened(), {"b": 0.5})
    settle(session)
    assert [one.name for one in session.beginning.waiting()] == ["c"]
    row = session.opened().store.slides()[1]
    assert (row.name, row.mpp) == ("b", 0.5)
    own = [tile.id for tile in session.opened().store.tiles().values() if tile.slide == "b"]
    assert len(own) == 4  # of 64 px at 1 µm/px, which are 128 px of 0.5 µm/px
    assert len(session.opened().store.embeddings()[0]) == before + 4  # they were looked at, too
    assert session.next("AB", 1, hand="x")
    session.end()

    again = Session(tmp_path / "p", automatic=False)  # no slide is named
    again.begin()
    settle(again)
    assert [one.name for one in again.beginning.waiting()] == ["c"]
    again.beginning.use(again.opened(), {"c": 1})
    again.wait()
    assert names(again) == ["a", "b", "c"]
    again.end()
    third = Session(tmp_path / "p", slides, automatic=False)
    third.begin()
    third.wait()
    assert [slide.mpp for slide in third.opened().store.slides()] == [1.0, 0.5, 1.0]
    third.end()


def test_what_was_said_before_there_was_a_project(slides: list[SlideTask], tmp_path: Path) -> None:
    session = Session(tmp_path / "p", slides, automatic=False)
    assert session.beginning.waiting() is not None
    assert session.beginning.scan
    session.beginning.scan.wait()
    assert [one.name for one in session.beginning.waiting()] == ["b", "c"]
    with pytest.raises(SettingError, match=r"µm/px of b must be from 0\.01 to 50, found '99'"):
        session.begin(SETTINGS, {"b": 99})
    assert not (tmp_path / "p").exists()
    session.begin(SETTINGS, {"b": 0.5, "c": 0.25})
    session.wait()
    assert [slide.mpp for slide in session.opened().store.slides()] == [1.0, 0.5, 0.25]
    assert session.beginning.waiting() == []
    session.end()


def test_the_option_counts_for_what_waits(slides: list[SlideTask], tmp_path: Path) -> None:
    session = settled(tmp_path / "p", slides)
    session.end()
    again = Session(tmp_path / "p", [SlideTask(task.path, 2.0) for task in slides[1:]], automatic=False)
    again.begin()
    again.wait()
    assert [slide.mpp for slide in again.opened().store.slides()] == [1.0, 2.0, 2.0]
    again.end()


def test_an_answer_outlives_a_crash_before_the_slide_is_added(slides: list[SlideTask], tmp_path: Path) -> None:
    session = settled(tmp_path / "p", slides[:2])
    session.end()
    Scales(tmp_path / "p").say({"b": 0.5})  # and nothing more was done
    again = Session(tmp_path / "p", automatic=False)
    again.begin()
    again.wait()
    assert names(again) == ["a", "b"]
    again.end()


def test_a_slide_that_cannot_be_added_is_told_and_asked_for_again(slides: list[SlideTask], tmp_path: Path) -> None:
    session = settled(tmp_path / "p", slides[:2])
    slides[1].path.write_bytes(b"no picture")
    session.beginning.use(session.opened(), {"b": 0.5})
    settle(session)
    assert "b.png" in session.beginning.problem
    assert [one.name for one in session.beginning.waiting()] == ["b"]
    session.end()


@pytest.mark.parametrize("mpp", [0, -1, 51, "0.5", True, None, float("nan"), [0.5]])
def test_what_no_microscope_has_is_refused_in_a_sentence(tmp_path: Path, mpp: object) -> None:
    waiting = [Waiting("b", tmp_path / "b.png", 10, 10)]
    with pytest.raises(SettingError, match=r"µm/px of b must be from 0\.01 to 50, found"):
        answered(waiting, {"b": mpp})
    with pytest.raises(SettingError, match="no slide 'x' waits"):
        answered(waiting, {"x": 0.5})


def test_the_route_takes_all_or_nothing(slides: list[SlideTask], tmp_path: Path) -> None:
    session = Session(tmp_path / "p", slides, automatic=False)
    client = TestClient(make_app(session, "t"), base_url="http://127.0.0.1", headers={"x-token": "t"})
    session.begin(SETTINGS)
    settle(session)
    found = client.get("/api/state").json()["waiting"]
    assert found == [{"name": name, "width": 256, "height": 256, "hint": ""} for name in ("b", "c")]
    assert "µm/px of c" in client.post("/api/scales", json={"scales": {"b": 0.5, "c": -1}}).json()["problem"]
    assert client.post("/api/scales", json={"scales": [0.5]}).status_code == 400
    assert len(session.beginning.waiting()) == 2
    assert client.post("/api/scales", json={"scales": {"b": 0.5, "c": 0.5}}).status_code == 200
    settle(session)
    assert names(session) == ["a", "b", "c"]
    session.end()


def test_a_damaged_list_asks_anew(slides: list[SlideTask], tmp_path: Path) -> None:
    session = settled(tmp_path / "p", slides)
    session.end()
    (tmp_path / "p" / WAITING_FILE).write_text("[{")
    again = Session(tmp_path / "p", slides, automatic=False)
    again.begin()
    settle(again)
    assert [one.name for one in again.beginning.waiting()] == ["b", "c"]
    again.end()


def test_labels_are_taken_over_once_the_scale_of_their_slides_is_known(slides: list[SlideTask], tmp_path: Path) -> None:
    with Image.open(slides[1].path) as picture:
        picture.crop((0, 0, 64, 64)).save(tmp_path / "patch.png")
    (tmp_path / "labels.csv").write_text("image,tumour,stroma\npatch.png,1,0\n")
    session = Session(tmp_path / "p", [SlideTask(tmp_path / "patch.png")], [tmp_path / "labels.csv"], automatic=False)
    session.begin(SETTINGS)
    settle(session)
    assert session.beginning.problem == ""
    assert session.beginning.notes == [
        f"labels of {tmp_path / 'labels.csv'} are taken over once the µm/px of its slides is known"
    ]
    session.beginning.use(session.opened(), {"patch": 1.0})
    settle(session)
    (label,) = session.opened().store.labels().values()
    assert (label.who, label.ticks) == ("import", ("tumour",))
    session.end()
