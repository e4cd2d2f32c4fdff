"""The server answers whoever has the token, on its own name, from its own page, with a small body; nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from histoproto.errors import OutputError, SettingError
from histoproto.slides.phantom import write_phantom_slide
from histoproto.slides.task import SlideTask
from histoproto.studio.claims import Claims
from histoproto.studio.pool import Pool
from histoproto.studio.project import Project, ProjectSettings
from histoproto.studio.serve import serve
from histoproto.studio.server import make_app
from histoproto.studio.session import Session

TOKEN = "a-token"
NAMES = ["tumour", "stroma", "<script>alert(1)</script>"]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("studio")
    write_phantom_slide(folder / "s.tif", width=768, height=512, mpp=1.0, field=256, distinct=2, glass=0.0)
    made = Session(folder / "project", [SlideTask(folder / "s.tif")])
    made.begin(ProjectSettings.of(NAMES, mpp=1.0, tile=128))
    made.wait()
    yield made
    made.end()


@pytest.fixture
def client(session: Session) -> TestClient:
    return TestClient(make_app(session, TOKEN), base_url="http://127.0.0.1", headers={"x-token": TOKEN})


def test_the_first_tile_comes_with_a_reason_and_a_label_is_kept(client: TestClient) -> None:
    tile = client.get("/api/next?who=AB&count=2").json()[0]
    assert tile["reason"].startswith("typical of a group")
    body = {"who": "AB", "tile": tile["tile"], "verdict": "label", "ticks": ["tumour"], "reason": tile["reason"]}
    assert client.post("/api/say", json=body).json()["event"] >= 1
    state = client.get("/api/state").json()
    assert state["labels"]["ticks"]["tumour"] >= 1
    assert client.post("/api/undo", json={"who": "AB"}).json()["label"] is None
    assert client.post("/api/redo", json={"who": "AB"}).json()["label"]["ticks"] == ["tumour"]


def test_two_people_never_get_the_same_tile(client: TestClient) -> None:
    first = {tile["tile"] for tile in client.get("/api/next?who=AB&count=5").json()}
    second = {tile["tile"] for tile in client.get("/api/next?who=CD&count=5").json()}
    assert len(first) == len(second) == 5
    assert not first & second


def test_many_who_ask_at_once_get_different_tiles(session: Session) -> None:
    session._claims = Claims()
    with ThreadPoolExecutor(8) as several:
        found = list(several.map(lambda who: session.next(f"person {who}", 2), range(8)))
    given = [tile["tile"] for tiles in found for tile in tiles]
    session._claims = Claims()
    assert len(given) == len(set(given)) == 16


def test_agreement_of_two_on_the_same_tiles(client: TestClient, session: Session) -> None:
    tiles = list(session.opened().store.tiles())[-2:]
    for who, ticks in (("X", ["tumour"]), ("Y", [])):
        for tile in tiles:
            client.post("/api/say", json={"who": who, "tile": tile, "verdict": "label", "ticks": ticks})
    found = {tuple(one["people"]): one for one in client.get("/api/agreement").json() if one["tissue"] == "tumour"}
    assert (found["X", "Y"]["tiles"], found["X", "Y"]["kappa"]) == (2, 0.0)
    for who in ("X", "X", "Y", "Y"):
        client.post("/api/undo", json={"who": who})


def test_the_first_tile_does_not_wait_for_any_to_be_looked_at(session: Session) -> None:
    pool, empty = session._pool, Pool(session.opened())
    empty._refresh = lambda: None  # type: ignore[method-assign]
    session._pool = empty
    try:
        first, second = (session.next(who, 2) for who in ("early", "bird"))
    finally:
        session._pool = pool
        session._claims = Claims()
    assert len({tile["tile"] for tile in (*first, *second)}) == 4
    assert "being looked at" in first[0]["reason"]


def test_pictures(client: TestClient) -> None:
    tile = client.get("/api/next?who=EF&count=1").json()[0]
    for path, start in (
        (f"/api/tile/{tile['tile']}/picture", b"\x89PNG"),
        (f"/api/tile/{tile['tile']}/context", b"\xff\xd8"),
        ("/api/slide/s/10/0_0.jpg", b"\xff\xd8"),
    ):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.content.startswith(start)
        assert "immutable" in answer.headers["cache-control"]
    assert client.get("/api/slide/s/10/99_0.jpg").status_code == 404
    assert client.get("/api/at", params={"slide": "s", "x": tile["x"] + 5, "y": tile["y"] + 5}).json()["tile"]


@pytest.mark.parametrize("path", ["/api/state", "/api/next", "/api/tile/1/picture", "/api/download/labels.zip"])
def test_without_the_token_nothing_is_told(session: Session, path: str) -> None:
    client = TestClient(make_app(session, TOKEN), base_url="http://127.0.0.1")
    assert client.get(path).status_code == 403
    assert client.get(path, headers={"x-token": "another"}).status_code == 403


def test_a_foreign_host_or_origin_is_refused(client: TestClient) -> None:
    assert client.get("/api/state", headers={"host": "evil.example:80"}).status_code == 421
    assert client.get("/", headers={"host": "127.0.0.1.evil.example"}).status_code == 421
    body = {"who": "X"}
    assert client.post("/api/undo", json=body, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/undo", json=body, headers={"origin": "null"}).status_code == 403
    assert client.post("/api/undo", content='{"who": "X"}', headers={"content-type": "text/plain"}).status_code == 415


def test_a_huge_body_is_refused_before_it_is_read(client: TestClient) -> None:
    headers = {"content-type": "application/json", "content-length": str(10**9)}
    assert client.post("/api/say", content=b"{}", headers=headers).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**16

    assert client.post("/api/say", content=endless(), headers={"content-type": "application/json"}).status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "/page/..%2f..%2f..%2fpyproject.toml",
        "/page/%2e%2e/server.py",
        "/api/slide/..%2f..%2fetc%2fpasswd/8/0_0.jpg",
        "/api/map/1/..%2f../8/0_0.png",
    ],
)
def test_no_path_outside_is_served(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert b"root:" not in answer.content


def test_names_are_text_and_scripts_of_others_are_not_run(client: TestClient) -> None:
    assert client.get("/api/state").json()["project"]["tissues"][2]["name"] == NAMES[2]
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]


@pytest.mark.parametrize(
    "body",
    [
        {"tile": 10**9, "verdict": "label"},
        {"tile": 1, "verdict": "nonsense"},
        {"tile": 1, "verdict": "label", "ticks": ["bone"]},
        {"tile": 1, "verdict": "unsure", "ticks": ["tumour"]},
        {"tile": "1", "verdict": "label"},
        {"tile": True, "verdict": "label"},
        {},
    ],
)
def test_nonsense_is_refused_in_a_sentence(client: TestClient, session: Session, body: dict[str, object]) -> None:
    before = session.opened().store.count_events()
    assert client.post("/api/say", json=body).status_code == 400
    assert session.opened().store.count_events() == before


def test_learning_without_labels_says_what_is_missing_also_after_it_was_stopped(
    client: TestClient, session: Session
) -> None:
    assert session.learner is not None
    for _ in range(2):
        assert client.post("/api/learn", json={}).json() == {"begun": True}
        assert client.post("/api/learn", json={}).json() == {"begun": False}
        until = time.monotonic() + 120
        while session.learner.working:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert "label" in session.learner.problem
        client.post("/api/learn/stop", json={})
        assert not session.learner.working


def test_the_process_that_learns_is_loaded_ahead_of_the_first_round(session: Session) -> None:
    assert session.learner is not None
    session.learner.stop()
    session.learner.warm()
    loaded = session.learner._process
    session.learner.warm()
    assert session.learner._process is loaded
    assert loaded.is_alive()
    assert not session.learner.working
    assert session.learn()
    assert session.learner._process is loaded
    session.stop_learning()
    assert not loaded.is_alive()


@pytest.mark.parametrize("host", ["", " "])
def test_an_empty_host_does_not_open_the_studio_to_the_network(session: Session, host: str) -> None:
    with pytest.raises(SettingError, match="the host is empty"):
        serve(session, host, 0, lambda _: None, browser=False)


def test_second_readings_are_set_kept_and_given(client: TestClient, session: Session) -> None:
    assert client.post("/api/doubles", json={"share": 0.7}).status_code == 400
    assert client.post("/api/doubles", json={}).status_code == 400
    assert client.post("/api/doubles", json={"share": 0.5}).status_code == 200
    assert client.get("/api/state").json()["project"]["doubles"] == 0.5
    assert Project.open(session.folder).settings.doubles == 0.5
    tiles = client.get("/api/next?who=P&count=2").json()
    client.post("/api/say", json={"who": "P", "tile": tiles[-1]["tile"], "verdict": "label", "ticks": ["tumour"]})
    session._claims = Claims()
    given = client.get("/api/next?who=Q&count=4").json()
    assert [tile["kind"] for tile in given].count("second") >= 1
    assert all(tile["label"] is None for tile in given if tile["kind"] == "second")  # what was said is not shown
    client.post("/api/undo", json={"who": "P"})
    assert client.post("/api/doubles", json={"share": 0}).status_code == 200
    session._claims = Claims()


def test_a_folder_with_something_else_is_refused_before_anybody_opens_the_page(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match="is there already and no project"):
        serve(Session(tmp_path), "127.0.0.1", 0, lambda _: None, browser=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_pages_of_nobody_in_particular_get_different_tiles(client: TestClient, session: Session) -> None:
    session._claims = Claims()
    found = [client.get(f"/api/next?who=&page={page}&count=2").json() for page in ("p", "q", "p")]
    first, second, again = ({tile["tile"] for tile in tiles} for tiles in found)
    assert not first & second
    assert not again & second
    session._claims = Claims()
