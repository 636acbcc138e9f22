"""The real daemon with a plugin that has tables and services: start, reload to a newer version, and back to an older one."""
# SPDX-License-Identifier: Apache-2.0

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mta.testing.server import HOST, MailServer, free_port, wait_until

PLUGIN = """
import asyncio
import os
import sqlalchemy as sa
from mta_hooks import hookimpl

METADATA = sa.MetaData()
SEEN = sa.Table("counting_seen", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("sender", sa.Text){more})

async def answer(ctx):
    async def serve(reader, writer):
        rows = await ctx.db.read(sa.select(sa.func.count()).select_from(SEEN))
        writer.write(f"{{rows[0][0]}} {{os.getpid()}} {{' '.join(SEEN.c.keys())}}\\n".encode())
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", ctx.config["port"])
    async with server:
        await server.serve_forever()

async def shaky(ctx):
    raise ValueError("no luck")

def step(operations):
    operations.add_column("counting_seen", sa.Column("note", sa.Text))

@hookimpl
def register(registry):
    registry.schema(METADATA, [{steps}])
    registry.service("answer", answer, single=True)
    registry.service("shaky", shaky)

@hookimpl
async def smtp_mail(sender, ctx):
    await ctx.db.write(SEEN.insert().values(sender=str(sender)))
"""
OLD = PLUGIN.format(more="", steps="")
NEW = PLUGIN.format(more=', sa.Column("note", sa.Text)', steps="step")


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every account can pass through."""
    with tempfile.TemporaryDirectory(prefix="mta-owned-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("where", ["here", "there"])
def test_tables_and_services_through_reloads(where: str, folder: Path, tmp_path: Path) -> None:
    port = free_port()
    source = folder / "t_counting.py"
    info = folder / "t_counting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t-counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mta.plugins]\ncounting = t_counting\n")
    source.write_text(OLD)
    section = {"port": port} if where == "here" else {"port": port, "isolate": "process"}
    config: dict[str, Any] = {"plugins": {"sql": {}, "counting": section}, "workers": 2, "drain": 2}
    env = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with MailServer(config, protocols=("smtp",), directory=tmp_path, users=(), env=env) as server:

        def asked() -> list[str]:
            try:
                with socket.create_connection((HOST, port), 5) as sock:
                    return sock.makefile().read().split()
            except OSError:
                return []

        def send() -> int:
            with server.smtp() as client:
                client.ehlo()
                return int(client.mail("x@far.example")[0])

        def reload(text: str) -> None:
            source.write_text(text)
            server.cli("reload")

        wait_until(asked, 10.0, "the service answers")
        assert [send() for _ in range(3)] == [250] * 3
        count, pid, *columns = asked()
        assert (count, columns) == ("3", ["id", "sender"])
        assert (int(pid) in server.workers) is (where == "here")
        server.wait_for_log(r"plugin\.service_restarts.*plugin=counting.*service=shaky")
        assert "service=answer" not in server.log

        reload(NEW)
        wait_until(lambda: asked()[2:] == ["id", "sender", "note"], 15.0, "the new version answers", pause=0.1)
        assert asked()[0] == "3"
        assert (tmp_path / "data/mta.db.counting.version1").exists()

        reload(OLD)  # its tables are too new for it: the mail goes on without it
        wait_until(lambda: not asked(), 15.0, "the service of the old generation ends", pause=0.1)
        assert send() == 250
        server.wait_for_log(r"plugin\.failed.*plugin=counting.*version 2, this plugin knows 1")

        assert server.stop() == 0
