"""Running the studio: a lock on the project, a free port, the address with its token, and a calm end."""

from __future__ import annotations

import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from histoproto.errors import SettingError
from histoproto.lock import folder_lock
from histoproto.studio.project import PROJECT_FILE, ProjectSettings, refuse_another
from histoproto.studio.server import make_app
from histoproto.studio.session import Session

DEMO_TISSUES_MPP = 1.0
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def serve(
    session: Session,
    host: str,
    port: int,
    told: Callable[[str], None],
    browser: bool = True,
    settings: ProjectSettings | None = None,
) -> None:
    """Serve a project until Ctrl-C.

    Args:
        session: the project.
        host: address to listen on; 127.0.0.1 is this machine alone.
        port: 0: any free one.
        told: called once with the whole address, token included.
        browser: open it in the browser.
        settings: of a project that is not there yet; None: the page asks for them.

    Raises:
        RunError: another server has this project; OutputError: its folder cannot be written, or holds something else.
        SettingError: the port is taken, or the host is not this machine's.
    """
    if not (session.folder / PROJECT_FILE).is_file():
        refuse_another(session.folder)  # now, and not when somebody has filled in the page
    with folder_lock(session.folder):
        if (session.folder / PROJECT_FILE).is_file():
            session.begin()
        elif settings:
            session.begin(settings)
        listening = _listen(host, port)
        own = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{own}/?token={token}"
        app = make_app(session, token, LOOPBACK | {host.lower(), socket.gethostname().lower()})
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
        told(address)
        if browser:
            threading.Timer(0.3, webbrowser.open, (address,)).start()
        try:
            with suppress(KeyboardInterrupt):  # uvicorn hands Ctrl-C on after it has ended calmly
                server.run(sockets=[listening])
        finally:
            session.end()


def _listen(host: str, port: int) -> socket.socket:
    if not host.strip():  # the system would take it for every address, open to the whole network
        raise SettingError("the host is empty; give --host 127.0.0.1 for this machine alone, or the address meant")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name, or else asyncio leaves small answers waiting for 40 ms (it sets TCP_NODELAY by it).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError, ValueError) as error:  # the last two: a port or name that cannot be
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise SettingError(f"{host}:{port} cannot be listened on: {reason}; give another --port or --host") from error
    return listening


def make_demo(folder: Path) -> Path:
    """A phantom slide and its exact mask in a folder, painted unless they are there; the slide."""
    from histoproto.slides.phantom import write_phantom_slide

    slide, mask = folder / "phantom.tif", folder / "phantom-mask.tif"
    if not (slide.is_file() and mask.is_file()):
        write_phantom_slide(slide, mask, width=4096, height=3072, mpp=DEMO_TISSUES_MPP, field=512, distinct=16, seed=7)
    return slide
