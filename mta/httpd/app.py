"""From a request to its answer: the route, who may, the body within its bounds, the plugin's handler; every error has a plain
answer. No text of an exception reaches a client.

The ASGI side of uvicorn. Routes are matched by Starlette's router, which is made anew when the set of plugins has changed.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from mta.httpd.access import HttpSession, is_admin, refusal
from mta.model.errors import StorageDead
from mta.pluginhost.routes import RESERVED, Away, PluginRoute
from mta_hooks.http import HttpAnswer, HttpRequest

if TYPE_CHECKING:
    from mta.httpd.connection import Connection
    from mta.httpd.server import HttpServer

_SWALLOW = 16 * 2**20
"""Octets of a body too large that are read, so that the client comes to its end and hears why."""
_MOST_QUERY = 200
_BUG = HttpAnswer.text("internal error\n", 500)
_AWAY = HttpAnswer(503, b"try again later\n", headers={"Retry-After": "30"})
_TOO_LARGE = HttpAnswer.text("the body is too large\n", 413)
_TOO_SLOW = HttpAnswer.text("the body took too long\n", 408)
_BAD_QUERY = HttpAnswer.text("the query is malformed\n", 400)
_DEFAULTS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class _Gone(Exception):
    """The client went away."""


class App:
    """What uvicorn calls."""

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._routes: Sequence[PluginRoute] = ()
        self._router: Router | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        routes = self._server.hooks.routes
        if self._router is None or routes is not self._routes:
            self._routes, self._router = routes, self._make(routes)
        exchange = Exchange(self._server, scope, receive, send)
        scope["exchange"], scope["app"] = exchange, self
        try:
            await self._router(scope, receive, send)
        except StorageDead as exc:  # uvicorn would go on: the loop's handler ends the worker
            asyncio.get_running_loop().call_exception_handler({"message": "http", "exception": exc})
        except HTTPException as exc:  # Starlette's own: the path is known, the method is not
            await exchange.answer(HttpAnswer(exc.status_code, b"this method is not for this path\n", headers=exc.headers or {}))
        except (_Gone, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001  # a bug of ours, logged with its traceback
            self._server.log.error("http.failed", session=exchange.link.id, path=scope["path"], exc_info=True)  # noqa: G201
            if not exchange.answered:
                await exchange.answer(_BUG, close=True)

    def _make(self, routes: Sequence[PluginRoute]) -> Router:
        own = [Route(path, _Own(path), methods=["GET"]) for path in RESERVED]
        by_path: dict[str, dict[str, PluginRoute]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        theirs = [Route(path, _Asked(methods), methods=list(methods)) for path, methods in by_path.items()]
        return Router([*own, *theirs], redirect_slashes=False, default=_nowhere)


class _Own:
    """``/healthz`` and ``/readyz``."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["exchange"]
        if self._path == "/healthz":
            await exchange.answer(HttpAnswer.json({"status": "ok"}))
            return
        ready, about = exchange.server.readiness()
        if exchange.server.draining:
            ready, about = False, {**about, "problems": [*about["problems"], "this worker stops"]}
        answer = {"status": "ready" if ready else "not ready", **about}
        await exchange.answer(HttpAnswer.json(answer, 200 if ready else 503))


class _Asked:
    """What plugins offer at one path, by method."""

    def __init__(self, routes: Mapping[str, PluginRoute]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["exchange"]
        method: str = scope["method"]
        exchange.route = route = self._routes.get(method) or self._routes["GET"]  # HEAD, which Starlette lets in where GET is
        await exchange.run(route)


async def _nowhere(scope: Scope, _receive: Receive, _send: Send) -> None:
    exchange: Exchange = scope["exchange"]
    await exchange.answer(HttpAnswer.text("there is nothing here\n", 404))


class Exchange:
    """One request and its answer."""

    def __init__(self, server: "HttpServer", scope: Scope, receive: Receive, send: Send) -> None:
        self.server = server
        self.link: Connection = scope["state"]["connection"]
        self.session = HttpSession.of(self.link)
        self.answered = False
        self.route: PluginRoute | None = None
        self._scope, self._receive, self._send = scope, receive, send
        self._started = server.clock.monotonic()
        self._headers = _headers(scope["headers"])

    async def run(self, route: PluginRoute) -> None:
        method: str = self._scope["method"]
        admin = is_admin(self.link, self._headers)
        answer = await refusal(route.access, self.link, self.session, method, self._headers, admin)
        if answer is not None:
            await self.answer(answer, close=self.link.failures >= self.server.config.auth.max_failures)
            return
        body = await self._body()
        if isinstance(body, HttpAnswer):
            await self.answer(body, close=True)
            return
        try:
            query = parse_qsl(self._scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_QUERY)
        except ValueError:
            await self.answer(_BAD_QUERY)
            return
        headers = self._headers
        if route.access != "public":  # what was the server's to check is not the plugin's to know
            headers = {name: value for name, value in headers.items() if name != "authorization"}
        request = HttpRequest(
            method, self._scope["path"], self._scope["path_params"], tuple(query), headers, body, self.session, admin
        )
        try:
            found = await route.ask(request)
        except Away:
            found = _AWAY
        await self.answer(found or _BUG)

    async def _body(self) -> bytes | HttpAnswer:
        """All of it, or why not. Raises _Gone."""
        limit = self.server.config.http.body_size
        if _declared(self._headers) > limit and "expect" in self._headers:
            return _TOO_LARGE  # it waits for leave to send
        pieces: list[bytes] = []
        size, more = 0, "content-length" in self._headers or "transfer-encoding" in self._headers
        try:
            async with asyncio.timeout(self.server.config.http.body_timeout if more else None):
                while more:
                    message: Message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise _Gone
                    size += len(message["body"])
                    more = message["more_body"]
                    if size <= limit:
                        pieces.append(message["body"])
                    elif size > limit + _SWALLOW:
                        return _TOO_LARGE
        except TimeoutError:
            return _TOO_SLOW
        return b"".join(pieces) if size <= limit else _TOO_LARGE

    async def answer(self, answer: HttpAnswer, *, close: bool = False) -> None:
        self.answered = True
        status, given = answer.status, {name.lower(): value for name, value in answer.headers.items()}
        headers = {**_DEFAULTS, "content-type": answer.content_type, "date": formatdate(usegmt=True), **given}
        if status not in (204, 304):
            headers["content-length"] = str(len(answer.body))
        if close or self.server.draining:
            headers["connection"] = "close"
        start = {"type": "http.response.start", "status": status, "headers": [(n.encode(), v.encode()) for n, v in headers.items()]}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": b"" if status in (204, 304) else answer.body})
        self.server.count(status)
        self._say(status)

    def _say(self, status: int) -> None:
        route, log = self.route, self.server.log
        tell = log.debug if route is None or route.access == "public" else log.info
        tell(
            "http.request",
            session=self.session.id,
            client=self.session.client_ip,
            user=self.session.user,
            method=self._scope["method"],
            path=self._scope["path"],
            status=status,
            seconds=round(self.server.clock.monotonic() - self._started, 4),
        )


def _headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names are in lower case already. Two of Authorization are as good as none (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _declared(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else 0
