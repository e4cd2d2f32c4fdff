"""The studio's server: thin routes over `Session`."""

from __future__ import annotations

import io
import secrets
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from histoproto.documents.json_file import parse_json
from histoproto.errors import HistoProtoError, sentence
from histoproto.studio.commands import commands
from histoproto.studio.guard import COOKIE, Guard
from histoproto.studio.project import COLOURS, ProjectSettings
from histoproto.studio.rounds import model_folder
from histoproto.studio.session import Session
from histoproto.studio.status import status

PAGE = Path(__file__).parent / "page"
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}
PRESETS = {
    "tumour · stroma · lymphocytes · necrosis · normal": ["tumour", "stroma", "lymphocytes", "necrosis", "normal"],
    "tumour · stroma · normal": ["tumour", "stroma", "normal"],
    "benign gland · malignant gland · stroma": ["benign gland", "malignant gland", "stroma"],
}


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

    def picture(content: bytes | None, kind: str, headers: dict[str, str] = FOREVER) -> Response:
        if content is None:
            raise HTTPException(404, "there is nothing there")
        return Response(content, media_type=kind, headers=headers)

    def state(request: Request) -> Any:
        return {**status(session), "presets": PRESETS, "colours": COLOURS}

    def create(request: Request, body: dict[str, Any]) -> Any:
        tissues = {"classes": body.get("tissues")}
        given = {key: body[key] for key in ("mpp", "tile", "checks", "doubles") if key in body}
        session.begin(ProjectSettings.checked({"tissues": tissues, **given}), _scales(body))
        return status(session)

    def next_(request: Request) -> Any:
        without = [int(part) for part in request.query_params.get("without", "").split(",") if part.isdigit()]
        count = min(48, max(1, _number(request, "count", 1)))
        who, hand = (request.query_params.get(name, "")[:80] for name in ("who", "page"))
        return session.next(who[:40], count, without, hand)

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

    def methods(request: Request) -> Any:
        from histoproto.methods.registry import METHODS  # torch, which the server begins without

        return [name for name in METHODS if name != "supervised"]  # there are no masks to supervise with

    def start_job(request: Request, body: dict[str, Any]) -> Any:
        options = str(body.get("method", "")), _whole(body.get("epochs", 0))
        session.worked().start(str(body.get("kind")), session.round, *options)

    def labels_zip(request: Request) -> Response:
        folder = session.opened().folder / "exports" / f"labels-{secrets.token_hex(4)}"
        session.opened().export_labels(folder, checks=True)
        return _zipped(folder, "labels.zip")

    def model_zip(request: Request) -> Response:
        from histoproto.model.archive import write_archive  # torch, which the server begins without

        run = model_folder(session.opened(), session.round)
        file = session.opened().folder / "exports" / f"model-{session.round:04d}.zip"
        file.parent.mkdir(exist_ok=True)
        return _taken_home(write_archive(run, file), "model.zip")

    def commands_(request: Request) -> Any:
        method, epochs = request.query_params.get("method", ""), _number(request, "epochs", 0)
        return commands(session.opened(), session.round, method, epochs)

    def results_(request: Request) -> Any:
        from histoproto.studio.results import results  # the rooms of maps: not for every start

        return results(session.opened())

    def result(request: Request) -> Response:
        from histoproto.studio.results import result_file

        number, name = request.path_params["round"], request.path_params["name"]
        slide = request.path_params.get("slide", "")
        return _taken_home(result_file(session.opened(), number, slide, name), f"{slide}-{name}" if slide else name)

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
        content, stays = session.looked().map_piece(round, slide, level, column, row) or (None, False)
        return picture(content, "image/png", FOREVER if stays else {"Cache-Control": "no-store"})

    def prototypes(request: Request) -> Any:
        return session.looked().gallery.all(request.path_params["round"])

    def name_prototype(request: Request, body: dict[str, Any]) -> Any:
        session.looked().gallery.name(_whole(body.get("round")), *_prototype(body), str(body.get("name", "")))

    def switch_prototype(request: Request, body: dict[str, Any]) -> Any:
        return session.switch_prototype(_whole(body.get("round")), *_prototype(body), body.get("off") is True)

    def prototype_picture(request: Request) -> Response:
        at = (request.path_params[name] for name in ("round", "tissue", "prototype", "tile"))
        return picture(session.looked().gallery.picture(*at), "image/png")

    def prototype_piece(request: Request) -> Response:
        names = ("round", "tissue", "prototype", "slide", "level", "column", "row")
        return picture(session.looked().prototype_piece(*(request.path_params[name] for name in names)), "image/png")

    number = "{tile:int}"
    which = "{round:int}/{tissue:int}/{prototype:int}"
    place = "{slide}/{level:int}/{column:int}_{row:int}"
    routes = [
        Route("/", page),
        _get("/api/state", state),
        _post("/api/project", create),
        _post("/api/scales", lambda request, body: session.beginning.use(session.opened(), _scales(body))),
        _get("/api/next", next_),
        _post("/api/say", say),
        _post("/api/undo", lambda request, body: session.undo(str(body.get("who", ""))[:40])),
        _post("/api/redo", lambda request, body: session.redo(str(body.get("who", ""))[:40])),
        _post("/api/learn", lambda request, body: {"begun": session.learn()}),
        _post("/api/learn/stop", lambda request, body: session.stop_learning()),
        _get("/api/methods", methods),
        _post("/api/job", start_job),
        _post("/api/job/stop", lambda request, body: session.worked().stop(str(body.get("kind")))),
        _get("/api/training", lambda request: [asdict(stage) for stage in session.worked().training()]),
        _get(
            "/api/at",
            lambda request: session.at(request.query_params.get("slide", ""), _real(request, "x"), _real(request, "y")),
        ),
        _get(f"/api/like/{number}", lambda request: session.like(request.path_params["tile"])),
        _get("/api/disagreements", lambda request: session.disagreements()),
        _post("/api/doubles", lambda request, body: session.read_twice(body.get("share", -1))),
        _get("/api/agreement", lambda request: session.agreement()),
        _get("/api/prototypes/{round:int}", prototypes),
        _post("/api/prototype", name_prototype),
        _post("/api/prototype/switch", switch_prototype),
        _get(f"/api/prototype/{which}/{number}/picture", prototype_picture),
        _get(f"/api/prototype/{which}/{place}.png", prototype_piece),
        _get("/api/seek", lambda request: session.seek(*map(request.query_params.getlist, ("with", "without")))),
        _get(
            f"/api/tile/{number}",
            lambda request: session.describe(session.opened().store.tile(request.path_params["tile"])),
        ),
        _get(f"/api/tile/{number}/picture", tile_picture),
        _get(f"/api/tile/{number}/context", context_picture),
        _get(f"/api/slide/{place}.jpg", slide_piece),
        _get(f"/api/map/{{round:int}}/{place}.png", map_piece),
        _get("/api/commands", commands_),
        _get("/api/results", results_),
        _get("/api/results/{round:int}/{name}", result),
        _get("/api/results/{round:int}/{slide}/{name}", result),
        _get("/api/download/labels.zip", labels_zip),
        _get("/api/download/model.zip", model_zip),
        _get("/api/download/report.html", lambda request: _taken_home(session.worked().report(), "report.html")),
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
        raise HTTPException(400, "tiles, rounds, epochs, tissues and prototypes are whole numbers")
    return value


def _scales(body: dict[str, Any]) -> dict[str, Any]:
    scales = body.get("scales", {})
    if not isinstance(scales, dict):
        raise HTTPException(400, "scales must be µm/px by the name of a slide")
    return scales


def _prototype(body: dict[str, Any]) -> tuple[int, int]:
    return _whole(body.get("tissue")), _whole(body.get("prototype"))


def _zipped(folder: Path, name: str) -> Response:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, Path(Path(name).stem) / path.relative_to(folder))
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(file.getvalue(), media_type="application/zip", headers=headers)


def _taken_home(file: Path, name: str) -> Response:
    """As a download, for nothing that others wrote is shown as a page of the studio's own."""
    return FileResponse(file, filename=name, headers={"Cache-Control": "no-store"})
