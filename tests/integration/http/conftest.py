"""One daemon with two workers, a drop-in plugin that offers routes, and small bounds."""
# SPDX-License-Identifier: Apache-2.0

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from types import SimpleNamespace

import pytest

from mta.testing.server import HOST, MailServer

TOKEN = "a-token-of-the-test-42"

WEB = """
import asyncio
from mta_hooks import hookimpl
from mta_hooks.http import HttpAnswer, HttpRoute
from mta_hooks.metrics import Metric

asked = 0

def hello(request, ctx):
    global asked
    asked += 1
    return HttpAnswer.json({"name": request.params["name"], "q": request.value("q"), "plugin": ctx.plugin,
                            "protocol": request.session.protocol, "client": request.session.client_ip})

async def echo(request, ctx):
    return HttpAnswer(201, request.body, "application/octet-stream", {"X-Method": request.method})

def whoami(request, ctx):
    return HttpAnswer.text(request.user)

def admin(request, ctx):
    return HttpAnswer.text(f"admin {request.admin} {request.headers.get('authorization')}")

def broken(request, ctx):
    raise KeyError("a secret of the plugin")

async def slow(request, ctx):
    await asyncio.sleep(float(request.value("s", "5")))
    return HttpAnswer.text("slept")

def numbers(ctx):
    return [Metric("asked_total", asked, help="How often hello was asked.")]

@hookimpl
def register(registry):
    registry.routes([
        HttpRoute("GET", "hello/{name}", hello, access="public"),
        HttpRoute("POST", "echo", echo, access="public"),
        HttpRoute("PUT", "echo", echo, access="public"),
        HttpRoute("GET", "/whoami", whoami, access="user"),
        HttpRoute("POST", "/whoami", whoami, access="user"),
        HttpRoute("GET", "admin", admin, access="admin"),
        HttpRoute("GET", "broken", broken, access="public"),
        HttpRoute("GET", "slow", slow, access="public", timeout=1.0),
        HttpRoute("GET", "slower", slow, access="public", timeout=20.0),
    ])
    registry.metrics(numbers)
"""


class Web(MailServer):
    """Asks one question on a connection of its own."""

    def ask(self, method: str, path: str, body: bytes = b"", timeout: float = 10.0, **headers: str) -> SimpleNamespace:
        link = HTTPConnection(HOST, self.ports["http"], timeout=timeout)
        try:
            link.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
            got = link.getresponse()
            octets = got.read()
        finally:
            link.close()
        return SimpleNamespace(status=got.status, body=octets, headers={k.lower(): v for k, v in got.getheaders()})

    def plugins(self) -> dict:
        return {row["name"]: row for row in json.loads(self.cli("plugins", "list", "--json").stdout)}


@pytest.fixture(scope="module")
def web(tmp_path_factory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("web")
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o755)
    (hooks / "web.py").write_text(WEB)
    config = {
        "hooks_dir": str(hooks),
        "http": {
            "admin_token": TOKEN,
            "header_size": 4096,
            "body_size": 4096,
            "header_timeout": 1,
            "body_timeout": 1,
            "send_timeout": 2,
        },
        "plugins": {"sql": {}, "prometheus": {"access": "public"}},
    }
    server = Web(config, protocols=("smtp", "imap", "http", "https"), directory=folder)
    server.config["listen"].append(f"http+unix:{folder}/http.sock")
    with server:
        yield server
