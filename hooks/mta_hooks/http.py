"""Routes over HTTP that a plugin offers with ``registry.routes``: what it is asked, what it answers. No web framework is needed.

    def hello(request, ctx):
        return HttpAnswer.text(f"Hello {request.params['name']}\\n")

    @hookimpl
    def register(registry):
        registry.routes([HttpRoute("GET", "hello/{name}", hello, access="public")])      # /plugins/NAME/hello/World

Left out: bodies that arrive or leave in pieces, WebSocket.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mta_hooks.views import Session

Access = Literal["public", "user", "admin"]

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LONGEST_DEADLINE = 300.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*\Z")
_PATH = re.compile(r"(?:[\w.~/%@:+-]|\{[A-Za-z_]\w*(?::path)?\})*\Z", re.ASCII)
_PARAMETER = re.compile(r"\{(\w+)")
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "content-type", "date"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, read whole.

    path     decoded, without the query
    params   what the ``{names}`` of the route's path stand for
    query    pairs in order, decoded; ``value`` finds the first of a name
    headers  names in lower case; several of one name are joined by ", "
    session  the client as hooks see it, protocol "http": one for each request
    admin    the client showed the administrator's token, or speaks over the Unix socket as one
    """

    method: str
    path: str
    params: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    session: Session
    admin: bool = False

    @property
    def user(self) -> str:
        """Address of the account that logged in, or ""."""
        return self.session.user

    def value(self, name: str, default: str = "") -> str:
        """The first value of this name in the query."""
        return next((value for key, value in self.query if key == name), default)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What a handler answers. Raises ValueError for what HTTP cannot carry.

    headers  beside Content-Type, Content-Length and Date, which are the server's to write
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given: Any = self  # of plugins without types
        if not (isinstance(given.status, int) and 200 <= given.status <= 599):
            raise ValueError(f"a status is 200 to 599, not {self.status!r}")
        if not isinstance(given.body, bytes):
            raise ValueError(f"a body is bytes, not {type(self.body).__name__}")
        for name, value in (("Content-Type", given.content_type), *given.headers.items()):
            if not (isinstance(name, str) and isinstance(value, str) and _TOKEN.match(name) and _VALUE.match(value)):
                raise ValueError(f"{str(name)[:80]!r} is no header field that can be sent")
        if reserved := sorted(name for name in self.headers if name.lower() in _OURS):
            raise ValueError(f"{reserved[0]} is the server's to write")

    @classmethod
    def text(cls, text: str, status: int = 200) -> "HttpAnswer":
        return cls(status, text.encode("utf-8", "replace"))

    @classmethod
    def json(cls, value: Any, status: int = 200) -> "HttpAnswer":
        return cls(status, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n", "application/json")


HttpHandler = Callable[..., HttpAnswer | Awaitable[HttpAnswer]]
"""``handler(request, ctx)``, ``def`` or ``async def``."""


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One thing that clients may ask. Raises ValueError for what cannot be one.

    path     "stats/{name}" is below /plugins/NAME/; with a leading "/" it is the whole path. ``{name}`` is one step of it,
             ``{name:path}`` the rest
    access   "public": everybody; "user": whoever logs in to an account here; "admin": whoever knows ``http.admin_token``
    timeout  seconds that the handler may take
    """

    method: str
    path: str
    handler: HttpHandler
    access: Access
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"{self.method!r} is no method of {', '.join(sorted(METHODS))}")
        if not _PATH.match(self.path) or "//" in self.path:
            raise ValueError(f"{self.path!r} is no path such as stats/{{name}}")
        names = _PARAMETER.findall(self.path)
        if len(names) != len(set(names)):
            raise ValueError(f"{self.path!r} has one name twice")
        if self.access not in ("public", "user", "admin"):
            raise ValueError(f'access is "public", "user" or "admin", not {self.access!r}')
        if not callable(self.handler):
            raise ValueError(f"{self.handler!r} cannot be called")
        if not 0 < self.timeout <= LONGEST_DEADLINE:
            raise ValueError(f"a timeout is more than 0 and at most {LONGEST_DEADLINE:g} seconds")
