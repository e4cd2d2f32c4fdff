"""Attacks over a real socket, where no client mends what is sent: each is refused, and the server goes on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from histoproto.studio.project import ProjectSettings
from histoproto.studio.server import make_app
from histoproto.studio.session import Session

TOKEN = "a-token"
SCRIPT = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    session = Session(tmp_path_factory.mktemp("attacks") / "project")
    session.begin(ProjectSettings.of(["tumour", SCRIPT]))
    session.wait()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(session, TOKEN), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)
    session.end()


def send(port: int, request: str, body: Iterator[bytes] = iter(())) -> bytes:
    """What comes back for a request as it is written; a body is sent until the server has enough."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request.replace("\n", "\r\n").encode())
        try:
            for part in body:
                connection.sendall(part)
        except OSError:
            pass  # it hung up
        found = b""
        try:
            while part := connection.recv(2**16):
                found += part
        except ConnectionResetError:
            pass
        return found


def get(port: int, path: str, host: str = "127.0.0.1", more: str = f"X-Token: {TOKEN}\n") -> bytes:
    return send(port, f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n{more}\n")


def status(answer: bytes) -> int:
    return int(answer.split()[1])


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/../../../../../../../../etc/passwd",
        "/page/..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/page/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/page//etc/passwd",
        "/page/..\\..\\server.py",
        "/api/slide/../../../../etc/passwd/8/0_0.jpg",
        "/api/slide/..%2f..%2f..%2fetc%2fpasswd/8/0_0.jpg",
        "/api/map/1/..%2f..%2f../8/0_0.png",
        "/api/map/../../../project.yaml",
        "/../../project.yaml",
        "/project.yaml",
    ],
)
def test_no_path_leads_out(port: int, path: str) -> None:
    answer = get(port, path)
    assert status(answer) in (400, 404)
    assert b"root:" not in answer
    assert b"tissues" not in answer
    assert b"import" not in answer


def test_another_host_name_or_none_is_refused(port: int) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "localhost@evil.example", ""):
        assert status(get(port, "/", host)) in (400, 421), host
    assert status(send(port, "GET / HTTP/1.0\n\n")) in (400, 421)
    assert status(get(port, "/", f"localhost:{port}")) == 200


def test_without_the_token_or_with_half_of_it_nothing_is_told(port: int) -> None:
    for more in ("", "X-Token: a-toke\n", "X-Token: \n", "Cookie: histoproto=nonsense\n", "X-Token: ä\n"):
        answer = get(port, "/api/state", more=more)
        assert status(answer) == 403, more
        assert b"tumour" not in answer
    assert b"tumour" in get(port, "/api/state")


def test_a_foreign_page_can_change_nothing(port: int) -> None:
    for origin in ("http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"):
        head = (
            f"POST /api/undo HTTP/1.1\nHost: 127.0.0.1:{port}\nX-Token: {TOKEN}\nOrigin: {origin}\nConnection: close\n"
        )
        body = "Content-Type: application/json\nContent-Length: 2\n\n{}"
        assert status(send(port, head + body)) == 403, origin


def test_a_gigabyte_is_refused_before_it_is_read(port: int) -> None:
    head = f"POST /api/say HTTP/1.1\nHost: 127.0.0.1\nX-Token: {TOKEN}\nContent-Type: application/json\n"
    told = send(port, head + f"Content-Length: {2**30}\nConnection: close\n\n")
    assert status(told) == 413
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 2**30:
            sent += 2**16
            yield b"10000\r\n" + b" " * 2**16 + b"\r\n"

    answer = send(port, head + "Transfer-Encoding: chunked\nConnection: close\n\n", endless())
    assert not answer or status(answer) == 413
    assert sent < 2**27
    assert status(get(port, "/api/state")) == 200  # it goes on


def test_a_script_in_a_name_stays_text(port: int) -> None:
    head, _, body = get(port, "/api/state").partition(b"\r\n\r\n")
    assert b"application/json" in head
    assert b"nosniff" in head
    assert SCRIPT.encode() in body
    assert SCRIPT.encode() not in get(port, "/")
    policy = next(line for line in head.decode().lower().splitlines() if line.startswith("content-security-policy"))
    assert "default-src 'self'" in policy
    assert "script-src" not in policy or "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_no_page_of_the_studio_writes_markup_from_text() -> None:
    page = Path(__file__).parents[2] / "src" / "histoproto" / "studio" / "page"
    for script in page.glob("*.js"):
        text = script.read_text(encoding="utf-8")
        for sink in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "dangerouslySetInnerHTML",
            "eval(",
        ):
            assert sink not in text, (script.name, sink)
