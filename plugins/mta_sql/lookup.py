"""Tables by SQL, for plugins: ``sql:SELECT value FROM names WHERE key = :key``, or ``sql:/path/file.cf`` in the form of Postfix's pgsql_table(5).

The first asks the server's own database, or the one that a file names: ``url``, or Postfix's ``hosts user password dbname`` or ``dbpath``;
``query``, ``result_format``, ``domain``; ``pgsql:``, ``mysql:`` and ``sqlite:`` read the same file. %s %u %d (and :key :local :domain) are parameters of the statement, never pasted into it; a query that has no
value for one of them is not asked. Connections cannot write. Rows and columns beyond one are joined with commas.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from mta.model.errors import ConfigError, TemporaryFailure
from mta_hooks.lookup import TableOptions
from mta_sql.database import sqlite_path
from mta_sql.sqlite import driver

_MOST_ROWS = 1000
_LONGEST = 1000
_SECONDS = 5
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_MARK = re.compile(r"%([sud%])")
_NAMES = {"s": ":key", "u": ":local", "d": ":domain"}
_KNOWN = ("hosts", "user", "password", "dbname", "dbpath", "query", "result_format", "domain", "url", "expansion_limit")


class SqlTable:
    """Fulfils mta_hooks.lookup.TableBackend."""

    patterns = False

    def __init__(self, source: str, options: TableOptions) -> None:
        self._options = options
        self._scheme = source.partition(":")[0]
        self._file = argument if (argument := source.partition(":")[2].strip()).startswith("/") else ""
        self._url, self._query, self._format, self._domains = options.database, argument, "%s", frozenset[str]()
        self._engine: Engine | None = None

    async def open(self) -> None:
        await self._options.threads.run(self._connected)

    async def get(self, key: str) -> str | None:
        if not key or len(key) > _LONGEST or "\0" in key:
            return None
        rows = await self._options.threads.run(self._ask, key)
        values = [str(value) for row in rows for value in row if value is not None and str(value)]
        return ",".join(self._format.replace("%s", value) for value in values) or None

    def _ask(self, key: str) -> Sequence[Any]:
        engine = self._connected()
        local, at, domain = key.rpartition("@")
        if self._domains and (not at or domain.lower() not in self._domains):
            return []
        given = {"key": key, "local": local or None if at else key, "domain": domain or None if at else None}
        statement = text(self._query)
        used = {name: given.get(name) for name in statement.compile().params}
        if None in used.values():
            return []
        try:
            with engine.connect() as connection:
                return connection.execute(statement, used).fetchmany(_MOST_ROWS)
        except SQLAlchemyError as exc:
            raise TemporaryFailure(f"sql table {self._file or self._query[:80]!r}: {str(exc.__cause__ or exc)[:300]}") from exc

    def _connected(self) -> Engine:
        """Raises ConfigError."""
        if self._engine is None:
            if self._file:
                self._read(self._file)
            if not re.match(r"\s*(select|with)\b", self._query, re.IGNORECASE):
                raise ConfigError(
                    self._file or "config", "query", "is no SELECT", "write SELECT value FROM names WHERE key = :key."
                )
            self._engine = _engine(self._url, self._options.data_dir, self._file or "config")
        return self._engine

    def _read(self, path: str) -> None:
        try:
            with open(path, encoding="utf-8") as stream:
                if os.fstat(stream.fileno()).st_mode & stat.S_IWOTH:
                    raise ConfigError(path, "sql", "the whole world can write it", "chmod o-rwx.")
                found = _settings(stream.read(65536), path)
        except (OSError, ValueError) as exc:
            raise ConfigError(path, "sql", str(exc), "make it a file that the server can read.") from exc
        self._query = _bound(found.get("query", ""))
        self._format = found.get("result_format", "%s")
        self._domains = frozenset(re.split(r"[\s,]+", found.get("domain", "").lower())) - {""}
        if "url" in found:
            self._url = found["url"]
        elif "dbpath" in found:
            self._url = f"sqlite:///{found['dbpath']}"
        elif "dbname" in found:
            self._url = _network(found, "mysql+pymysql" if self._scheme == "mysql" else "postgresql")


def _bound(query: str) -> str:
    """Postfix's marks as parameters, out of the quotes that they stand in: ``'%u@%d'`` becomes ``(:local || '@' || :domain)``."""

    def literal(match: re.Match[str]) -> str:
        pieces = _MARK.split(match[1])  # text, mark, text, mark, …
        parts = [_NAMES.get(piece, "'%'") if number % 2 else f"'{piece}'" for number, piece in enumerate(pieces) if piece]
        return parts[0] if len(parts) == 1 else f"({' || '.join(parts)})" if parts else "''"

    def marks(piece: str) -> str:
        return _MARK.sub(lambda match: _NAMES.get(match[1], "%"), piece)

    out, at = [], 0
    for match in _LITERAL.finditer(query):
        out += [marks(query[at : match.start()]), literal(match)]
        at = match.end()
    return "".join([*out, marks(query[at:])])


def _settings(content: str, path: str) -> Mapping[str, str]:
    """``name = value`` lines; one that begins with white space goes on. Raises ConfigError."""
    found: dict[str, str] = {}
    last = ""
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and last:
            found[last] += " " + line.strip()
            continue
        last, equals, value = (part.strip() for part in line.partition("="))
        if not equals or last not in _KNOWN:
            raise ConfigError(f"{path}:{number}", last[:40] or "line", "is not known here", f"one of: {', '.join(_KNOWN)}.")
        found[last] = value
    return found


def _network(found: Mapping[str, str], driver: str) -> str:
    first = re.sub(r"^(inet|unix):", "", found.get("hosts", "").split()[0]) if found.get("hosts", "").split() else ""
    host, _, port = first.partition(":")
    return URL.create(
        driver, found.get("user"), found.get("password"), host or None, int(port) if port.isdigit() else None, found["dbname"]
    ).render_as_string(hide_password=False)


def _engine(url: str, data_dir: str, where: str) -> Engine:
    """Raises ConfigError."""
    try:
        if url.startswith("sqlite"):
            return _sqlite(sqlite_path(url, Path(data_dir)))
        target = make_url(url)
        if target.get_backend_name() == "postgresql":
            target = target.set(drivername="postgresql+psycopg")
            more = {
                "connect_timeout": _SECONDS,
                "options": f"-c default_transaction_read_only=on -c statement_timeout={_SECONDS * 1000}",
            }
            return create_engine(
                target, isolation_level="AUTOCOMMIT", pool_size=4, max_overflow=0, pool_timeout=_SECONDS, connect_args=more
            )
        return create_engine(target, pool_size=4, max_overflow=0, pool_timeout=_SECONDS)
    except (SQLAlchemyError, ImportError, ValueError) as exc:
        raise ConfigError(where, "url", f"no usable URL: {exc}", "write sqlite:////path or postgresql://user@host/name.") from exc


def _sqlite(path: Path) -> Engine:
    def connect() -> Any:
        url = f"file:{quote(str(path.absolute()))}?mode=ro"
        raw = driver.connect(url, uri=True, timeout=float(_SECONDS), isolation_level=None, check_same_thread=False)
        raw.execute("PRAGMA query_only = ON").fetchall()
        return raw

    return create_engine("sqlite://", creator=connect, module=driver, poolclass=QueuePool, pool_size=4, max_overflow=0)
