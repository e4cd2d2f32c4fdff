"""The studio's server: thin routes over `Session`, and the guards in front of them."""

from __future__ import annotations

import io
import secrets
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from histoproto.documents.json_file import parse_json
from histoproto.errors import HistoProtoError, sentence
from histoproto.studio.project import COLOURS, ProjectSettings
from histoproto.studio.rounds import model_folder
from histoproto.studio.session import Session
from histoproto.studio.status import status

PAGE = Path(__file__).parent / "page"
MOST_BODY = 2**20
"""Bytes that a request may send."""
COOKIE = "histoproto"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
PRESETS = {
    "tumour · stroma · lymphocytes · necrosis · normal": ["tumour", "stroma", "lymphocytes", "necrosis", "normal"],
    "tumour · stroma · normal": ["tumour", "stroma", "normal"],
    "benign gland · malignant gland · stroma": ["benign gland", "malignant gland", "stroma"],
}


class Guard:
    """Refuses a foreign host name (DNS rebinding), a foreign origin, whoever has no token, and a huge body."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]):
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what is wrong."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        if refusal := self._refusal(request):
            return await refusal(scope, receive, self._with_policy(send))
        left = MOST_BODY

        async def limited() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, "the body of the request is too large")
            return message

        await self.app(scope, limited, self._with_policy(send))

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        if host.strip("[]").lower() not in self.hosts:
            return PlainTextResponse("this host name is not the studio's", 421)
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower():
            return PlainTextResponse("requests of other pages are refused", 403)
        if request.url.path.startswith("/api/"):
            sent = request.headers.get("x-token") or request.query_params.get("token") or request.cookies.get(COOKIE)
            if not sent or not secrets.compare_digest(sent.encode(), self.token.encode()):
                return PlainTextResponse(
                    "the token is missing or wrong; open the address that the command printed", 403
                )
            if request.method != "GET" and not request.headers.get("content-type", "").startswith("application/json"):
                return PlainTextResponse("requests that change something are JSON", 415)
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            return PlainTextResponse("the body of the request is too large", 413)
        return None

    def _with_policy(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {
                    "Content-Security-Policy": POLICY,
                    "X-Content-Type-Options": "nosniff",
                    "Referrer-Policy": "no-referrer",
                    "Cross-Origin-Resource-Policy": "same-origin",
                }
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in own.items())]
            await send(message)

        return sending


def make_app(session: Session, token: str, hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})) -> Any:
    """The application.

    Args:
        session: the project.
        token: what requests under /api/ must bring.
        hosts: names under which it may be called.
    """

    def page(request: Request) -> Response:
        if request.query_params.get("token"):  # into a cookie, so that it does not stay in the address
            response: Response = RedirectResponse("/", 303)
            response.set_cookie(COOKIE, request.query_params["token"], httponly=True, samesite="strict")
            return response
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    def picture(content: bytes | None, kind: str) -> Response:
        if content is None:
            raise HTTPException(404, "there is nothing there")
        return Response(content, media_type=kind, headers=FOREVER)

    def state(request: Request) -> Any:
        return {**status(session), "presets": PRESETS, "colours": COLOURS}

    def create(request: Request, body: dict[str, Any]) -> Any:
        tissues = {"classes": body.get("tissues")}
        given = {key: body[key] for key in ("mpp", "tile", "checks", "doubles") if key in body}
        session.begin(ProjectSettings.checked({"tissues": tissues, **given}))
        return status(session)

    def next_(request: Request) -> Any:
        without = [int(part) for part in request.query_params.get("without", "").split(",") if part.isdigit()]
        count = min(48, max(1, _number(request, "count", 1)))
        return session.next(request.query_params.get("who", ""), count, without)

    def say(request: Request, body: dict[str, Any]) -> Any:
        seconds = body.get("seconds")
        return session.say(
            str(body.get("who", ""))[:40],
            _whole(body.get("tile")),
            str(body.get("verdict")),
            [str(tick) for tick in body.get("ticks", [])],
            str(body.get("reason", ""))[:200],
            float(seconds) if isinstance(seconds, int | float) else None,
        )

    def labels_zip(request: Request) -> Response:
        folder = session.opened().folder / "exports" / f"labels-{secrets.token_hex(4)}"
        session.opened().export_labels(folder, checks=True)
        return _zipped(folder, "labels.zip")

    def model_zip(request: Request) -> Response:
        return _zipped(model_folder(session.opened(), session.round), "model.zip")

    def tile_picture(request: Request) -> Response:
        return picture(session.looked().tile_picture(request.path_params["tile"]), "image/png")

    def context_picture(request: Request) -> Response:
        return picture(session.looked().context_picture(request.path_params["tile"]), "image/jpeg")

    def slide_piece(request: Request) -> Response:
        slide, level, column, row = (request.path_params[name] for name in ("slide", "level", "column", "row"))
        return picture(session.looked().slide_piece(slide, level, column, row), "image/jpeg")

    def map_piece(request: Request) -> Response:
        names = ("round", "slide", "level", "column", "row")
        round, slide, level, column, row = (request.path_params[name] for name in names)
        return picture(session.looked().map_piece(round, slide, level, column, row), "image/png")

    number = "{tile:int}"
    place = "{slide}/{level:int}/{column:int}_{row:int}"
    routes = [
        Route("/", page),
        _get("/api/state", state),
        _post("/api/project", create),
        _get("/api/next", next_),
        _post("/api/say", say),
        _post("/api/undo", lambda request, body: session.undo(str(body.get("who", ""))[:40])),
        _post("/api/redo", lambda request, body: session.redo(str(body.get("who", ""))[:40])),
        _post("/api/learn", lambda request, body: {"begun": session.learn()}),
        _post("/api/learn/stop", lambda request, body: session.stop_learning()),
        _post("/api/job", lambda request, body: session.worked().start(str(body.get("kind")), session.round)),
        _post("/api/job/stop", lambda request, body: session.worked().stop(str(body.get("kind")))),
        _get(
            "/api/at",
            lambda request: session.at(request.query_params.get("slide", ""), _real(request, "x"), _real(request, "y")),
        ),
        _get(f"/api/like/{number}", lambda request: session.like(request.path_params["tile"])),
        _get("/api/disagreements", lambda request: session.disagreements()),
        _get("/api/agreement", lambda request: session.agreement()),
        _get(f"/api/tile/{number}/picture", tile_picture),
        _get(f"/api/tile/{number}/context", context_picture),
        _get(f"/api/slide/{place}.jpg", slide_piece),
        _get(f"/api/map/{{round:int}}/{place}.png", map_piece),
        _get("/api/download/labels.zip", labels_zip),
        _get("/api/download/model.zip", model_zip),
        Mount("/page", StaticFiles(directory=PAGE)),
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, token=token, hosts=hosts)],
        exception_handlers={HistoProtoError: _told},
    )


def _get(path: str, call: Callable[[Request], Any]) -> Route:
    async def answer(request: Request) -> Response:
        found = await run_in_threadpool(call, request)
        return found if isinstance(found, Response) else JSONResponse(found, headers={"Cache-Control": "no-store"})

    return Route(path, answer, methods=["GET"])


def _post(path: str, call: Callable[[Request, dict[str, Any]], Any]) -> Route:
    async def answer(request: Request) -> Response:
        body = parse_json(await request.body() or b"{}", "the request")
        if not isinstance(body, dict):
            raise HTTPException(400, "the body must be a JSON object")
        return JSONResponse(await run_in_threadpool(call, request, body))

    return Route(path, answer, methods=["POST"])


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HistoProtoError)
    return JSONResponse({"problem": sentence(error)}, 400)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isdigit() and len(text) < 10 else default


def _real(request: Request, name: str) -> float:
    try:
        return float(request.query_params.get(name, ""))
    except ValueError as error:
        raise HTTPException(400, f"{name} must be a number") from error


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise HTTPException(400, "the tile must be a whole number")
    return value


def _zipped(folder: Path, name: str) -> Response:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            inside = path.relative_to(folder)
            if not {"checkpoints", "tensorboard"} & set(inside.parts):
                archive.write(path, Path(Path(name).stem) / inside)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(file.getvalue(), media_type="application/zip", headers=headers)
