"""GENURLAUTH, URLFETCH, RESETKEY (RFC 4467 §7 to §9)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import TypeVar

from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Malformed, Scanner

T = TypeVar("T")
_MOST = 100


@dataclass(frozen=True, slots=True)
class GenUrlAuth:
    """URLs that end with ``;URLAUTH=access``, and the mechanism for each, in upper case."""

    urls: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True, slots=True)
class UrlFetch:
    urls: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ResetKey:
    """``mailbox`` None: all of the account."""

    mailbox: str | None = None
    mechanisms: tuple[str, ...] = ()


def read_genurlauth(scan: Scanner) -> GenUrlAuth:
    urls: list[tuple[bytes, str]] = []
    while not urls or scan.take(b" "):
        url = scan.astring()
        scan.space()
        urls.append((url, scan.word()))
    return GenUrlAuth(_few(urls))


def read_urlfetch(scan: Scanner) -> UrlFetch:
    urls = [scan.astring()]
    while scan.take(b" "):
        urls.append(scan.astring())
    return UrlFetch(_few(urls))


def read_resetkey(scan: Scanner, utf8: bool) -> ResetKey:
    name = decode_name(scan.astring(), utf8=utf8)
    mechanisms = []
    while scan.take(b" "):
        mechanisms.append(scan.word())
    return ResetKey(name, tuple(mechanisms))


def _few(urls: list[T]) -> tuple[T, ...]:
    if len(urls) > _MOST:
        raise Malformed("too many URLs")
    return tuple(urls)
