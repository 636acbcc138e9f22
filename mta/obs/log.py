"""Structured log: an event name and fields, one line per decision (docs/operators/log.md lists every event).

Values are escaped so that no peer can forge a line, and cut at 1,000 characters. Message content and credentials are
never passed here; ``secret`` fields are replaced as a second wall.
"""
# SPDX-License-Identifier: Apache-2.0

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from json.encoder import encode_basestring, encode_basestring_ascii  # json.dumps makes an encoder for each value
from typing import Any, Literal

Level = Literal["debug", "info", "warning", "error"]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_NAMES = {number: name.upper() for name, number in _LEVELS.items()}
_SECRET = frozenset({"password", "credential", "secret", "token", "authorization", "pass"})
_LONGEST = 1000
_root = logging.getLogger("mta")
_FORMATTER = logging.Formatter()
_BLANK = logging.makeLogRecord({"name": "mta", "args": (), "process": None, "thread": None, "threadName": None}).__dict__
_bare = re.compile(r"[!#-<>-\[\]-~]+").fullmatch  # printable ASCII but blank, quote, equals sign and backslash
_quoted = re.compile(r'[ "=\\]').search


class _Line(logging.LogRecord):
    """A record with what a line of ours shows. Its caller, thread and process, which nobody reads, cost more than all the rest."""

    def __init__(self, level: int, event: str, fields: dict[str, object], exc_info: Any) -> None:
        now = time.time()
        self.__dict__ = {
            **_BLANK,
            "created": now,
            "msecs": int(now % 1 * 1000),
            "levelno": level,
            "levelname": _NAMES[level],
            "msg": event,
            "fields": fields,
            "exc_info": exc_info,
        }


class Log:
    """Bound fields plus an event. ``bind`` is cheap; a filtered call costs one comparison."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object] | None = None) -> None:
        self._fields = dict(fields or {})

    def bind(self, **fields: object) -> "Log":
        return Log({**self._fields, **fields})

    def debug(self, event: str, **fields: object) -> None:
        if _root.isEnabledFor(logging.DEBUG):
            self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        if _root.isEnabledFor(logging.INFO):
            self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        if _root.isEnabledFor(logging.WARNING):
            self._emit(logging.WARNING, event, fields)

    def error(self, event: str, **fields: object) -> None:
        """With ``exc_info=True`` the traceback of the exception being handled is kept."""
        self._emit(logging.ERROR, event, fields)

    def _emit(self, level: int, event: str, fields: dict[str, object]) -> None:
        exc_info = sys.exc_info() if fields.pop("exc_info", None) else None
        _root.handle(_Line(level, event, {**self._fields, **fields} if self._fields else fields, exc_info))


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._second, self._stamp = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        line = f"{self._stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.getMessage()}"
        for key, value in _fields(record).items():
            line += f" {key}={_text(key, value)}"
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        out: dict[str, Any] = {"at": record.created, "level": record.levelname.lower(), "event": record.getMessage()}
        out.update({key: _plain(key, value) for key, value in _fields(record).items()})
        if record.exc_info:
            out["traceback"] = self.formatException(record.exc_info)
        return json.dumps(out, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return getattr(record, "fields", {})


def values_of(record: logging.LogRecord) -> dict[str, object]:
    """The fields of a line as JSON values: secrets struck out, long ones cut, a traceback under "traceback"."""
    out = {key: _plain(key, value) for key, value in _fields(record).items()}
    if record.exc_info:
        out["traceback"] = _FORMATTER.formatException(record.exc_info)
    return out


def _plain(key: str, value: object) -> object:
    if key in _SECRET:
        return "***"
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)[:_LONGEST]


def _text(key: str, value: object) -> str:
    text = "***" if key in _SECRET else str(value)[:_LONGEST]
    if _bare(text) is not None:
        return text
    if not text.isprintable():
        return encode_basestring_ascii(text)
    return text if text and _quoted(text) is None else encode_basestring(text)


def configure(level: Level = "info", form: Literal["text", "json"] = "text", file: str | None = None) -> None:
    """Write the log of this process to ``file`` or standard error. Called once at start and again at reload."""
    handler: logging.Handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for old in list(_root.handlers):
        _root.removeHandler(old)
        old.close()
    _root.addHandler(handler)
    _root.setLevel(_LEVELS[level])
    _root.propagate = False
