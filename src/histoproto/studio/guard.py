"""What stands in front of the studio's server: who may ask for what, and what the page may do."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 2**20
"""Bytes that a request may send."""
COOKIE = "histoproto"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


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
