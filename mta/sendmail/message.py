"""The text on standard input as a message: CRLF, end, recipients of ``-t``, missing header fields.

Date and Message-ID are added by the server, as for every submission; From is added here, where the caller is known.
"""
# SPDX-License-Identifier: Apache-2.0

_RECIPIENT_FIELDS = (b"to", b"cc", b"bcc")
_RESENT_FIELDS = (b"resent-to", b"resent-cc", b"resent-bcc")


class Unsendable(Exception):
    """Exit status 65."""


def normalise(octets: bytes, dot_ends: bool) -> bytes:
    """Return the message with CRLF line ends, without an mbox "From " line, up to a lone dot when that ends it.

    Raises Unsendable for NUL.
    """
    if b"\0" in octets:
        raise Unsendable("the message holds a NUL octet")
    octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if dot_ends:
        if octets.startswith(b".\n") or octets == b".":
            octets = b""
        elif (end := octets.find(b"\n.\n")) >= 0:
            octets = octets[: end + 1]
        elif octets.endswith(b"\n."):
            octets = octets[:-1]
    if octets.startswith((b"From ", b">From ")):
        octets = octets[octets.find(b"\n") + 1 :] if b"\n" in octets else b""
    if octets and not octets.endswith(b"\n"):
        octets += b"\n"
    return octets.replace(b"\n", b"\r\n")


def split(message: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the header fields as (name in lower case, octets with line ends) and the rest, empty line first.

    A text that does not begin with a header field is all body, as every sendmail takes it.
    """
    fields: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(message):
        end = message.find(b"\r\n", position)
        end = len(message) if end < 0 else end + 2
        line = message[position:end]
        name, colon, _ = line.partition(b":")
        if line == b"\r\n":
            break
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + line)
        elif colon and name.strip() and not any(c <= 32 or c >= 127 for c in name.rstrip(b" \t")):
            fields.append((name.rstrip(b" \t").lower(), line))
        else:
            return fields, b"\r\n" + message[position:]
        position = end
    return fields, message[position:] or b"\r\n"


def recipients_of(fields: list[tuple[bytes, bytes]]) -> list[str]:
    """Addresses of To, Cc and Bcc, or of their Resent- forms when there is one."""
    names = _RESENT_FIELDS if any(name in _RESENT_FIELDS for name, _ in fields) else _RECIPIENT_FIELDS
    found: list[str] = []
    for name, octets in fields:
        if name in names:
            found += addresses(octets.partition(b":")[2].decode("utf-8", "surrogateescape"))
    return list(dict.fromkeys(found))


def complete(fields: list[tuple[bytes, bytes]], body: bytes, sender: str, name: str, drop_bcc: bool) -> bytes:
    """Return the message with a From field, without Return-Path, and without Bcc when ``drop_bcc``."""
    dropped = {b"return-path", b"bcc", b"resent-bcc"} if drop_bcc else {b"return-path"}
    kept = [octets for field, octets in fields if field not in dropped]
    if not any(field == b"from" for field, _ in fields):
        kept.insert(0, f"From: {_mailbox(name, sender)}\r\n".encode("utf-8", "surrogateescape"))
    return b"".join(kept) + body


def _mailbox(name: str, address: str) -> str:
    clean = "".join(c for c in name if c.isprintable())
    if not clean:
        return address
    if all(c.isalnum() or c in " -" for c in clean):
        return f"{clean} <{address}>"
    quoted = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'


def addresses(text: str) -> list[str]:
    """Addresses in a header value (RFC 5322 §3.4): comments, quoted names, angle brackets and groups understood. Linear."""
    found: list[str] = []
    plain: list[str] = []
    angle: list[str] | None = None
    in_angle = False
    i, depth = 0, 0
    while i < len(text):
        c = text[i]
        if c == "\\" and i + 1 < len(text):
            if not depth:
                (angle if in_angle and angle is not None else plain).append(text[i : i + 2])
            i += 2
            continue
        if depth or c == "(":
            depth += (c == "(") - (c == ")")
        elif c == '"':
            end = _closing_quote(text, i)
            (angle if in_angle and angle is not None else plain).append(text[i : end + 1])
            i = end
        elif c == "<":
            angle, in_angle = [], True
        elif c == ">":
            in_angle = False
        elif c in ",;" and not in_angle:
            _end(found, plain, angle)
            plain, angle = [], None
        elif c == ":" and not in_angle:
            plain = []  # the name of a group
        elif not c.isspace():
            (angle if in_angle and angle is not None else plain).append(c)
        i += 1
    _end(found, plain, angle)
    return found


def _closing_quote(text: str, start: int) -> int:
    i = start + 1
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == '"':
            return i
        i += 1
    return len(text) - 1


def _end(found: list[str], plain: list[str], angle: list[str] | None) -> None:
    address = "".join(plain if angle is None else angle)
    if address:
        found.append(address)
