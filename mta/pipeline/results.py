"""The Authentication-Results field (RFC 8601): ours, made of typed results; others' that claim our name, removed (§5)."""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Sequence

from mta.pipeline.header import split_fields
from mta_hooks.results import AuthResult

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~\-]+\Z")
_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~\-/@:=]+\Z")  # pvalue takes addresses too; "/", ":" and "=" hurt no reader
_COMMENT = re.compile(r"\([^()]*\)")
_SERVER = re.compile(r'\s*(?:"([^"]*)"|([^\s;/"]+))')


def build_results(hostname: str, results: Sequence[AuthResult]) -> bytes:
    """The whole field with CRLF; "none" without results (§2.2)."""
    parts = [_one(r) for r in results] or ["none"]
    return ("Authentication-Results: " + ";\r\n\t".join([hostname, *parts]) + "\r\n").encode("utf-8", "replace")


def strip_forged(head: bytes, hostname: str) -> bytes:
    """The header without fields that carry our authserv-id, in whatever spelling, and without Return-Path: final delivery
    writes that (RFC 5321 §4.4), so a reader may believe the one it finds.
    """
    kept = []
    for name, field in split_fields(head):
        if name == b"return-path":
            continue
        if name == b"authentication-results" and _server(field) in ("", hostname.lower()):
            continue
        kept.append(field)
    return b"".join(kept)


def _server(field: bytes) -> str:
    """The authserv-id in lower case; "" when there is none that can be read, which a reader might take for ours."""
    value = field.partition(b":")[2].decode("utf-8", "replace")
    previous = ""
    for _ in range(10):  # nested comments, ten deep
        if value == previous:
            break
        previous, value = value, _COMMENT.sub(" ", value)
    match = _SERVER.match(value)
    return (match[1] or match[2] or "").lower() if match else ""


def _one(result: AuthResult) -> str:
    text = f"{_token(result.method)}={_token(result.result)}"
    if result.reason:
        text += f" reason={_quoted(result.reason)}"
    for name, value in result.properties:
        text += f" {'.'.join(_token(part) for part in name.split('.', 1))}={value if _VALUE.match(value) else _quoted(value)}"
    return text


def _token(text: str) -> str:
    return text if _TOKEN.match(text) else "".join(c if _TOKEN.match(c) else "-" for c in text) or "-"


def _quoted(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)[:400]
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
