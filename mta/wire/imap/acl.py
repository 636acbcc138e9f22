"""GETACL, SETACL, DELETEACL, LISTRIGHTS, MYRIGHTS (RFC 4314 §3, §6)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import dataclass

from mta.model.rights import shown
from mta.wire.imap.mailbox import decode_name, encode_name
from mta.wire.imap.response import string
from mta.wire.imap.scanner import Malformed, Scanner


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody in the list of a mailbox, as the client writes the name."""

    mailbox: str
    identifier: str


@dataclass(frozen=True, slots=True)
class SetAcl:
    """``rights`` may begin with "+" or "-" (RFC 4314 §3.1)."""

    mailbox: str
    identifier: str
    rights: str


def read_entry(scan: Scanner, _uid: bool, utf8: bool) -> Entry:
    name = decode_name(scan.astring(), utf8=utf8)
    scan.space()
    return Entry(name, _text(scan))


def read_set_acl(scan: Scanner, _uid: bool, utf8: bool) -> SetAcl:
    entry = read_entry(scan, _uid, utf8)
    scan.space()
    return SetAcl(entry.mailbox, entry.identifier, _text(scan))


def _text(scan: Scanner) -> str:
    try:
        return scan.astring().decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Malformed("not UTF-8") from exc


def acl_line(name: str, entries: Sequence[tuple[str, str]], *, utf8: bool) -> bytes:
    pairs = b"".join(b" %b %b" % (string(who.encode()), string(shown(rights).encode())) for who, rights in entries)
    return b"* ACL %b%b\r\n" % (encode_name(name, utf8=utf8), pairs)


def my_rights_line(name: str, rights: str, *, utf8: bool) -> bytes:
    return b"* MYRIGHTS %b %b\r\n" % (encode_name(name, utf8=utf8), string(shown(rights).encode()))


def list_rights_line(name: str, identifier: str, required: str, optional: Sequence[str], *, utf8: bool) -> bytes:
    words = b" ".join([string(required.encode()), *(letters.encode() for letters in optional)])
    return b"* LISTRIGHTS %b %b %b\r\n" % (encode_name(name, utf8=utf8), string(identifier.encode()), words)
