"""Another server's account over IMAP4rev1 (RFC 3501): every folder with flags, dates and special use (RFC 6154).

Folders are opened read-only and bodies fetched with BODY.PEEK: nothing changes there. What is here already is seen by date, size and
Message-ID before its body is asked for. Folders that only show messages of others (\\All, \\Flagged) are left out.
Blocking, on the standard library's client; ``pull`` runs it in a thread.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import imaplib
import re
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from mta.config.urls import parse_listen
from mta.model.errors import MailError
from mta.model.message import Flags, OctetContent
from mta.transfer.take import Folder, Found, Taker, Target, crlf, mailbox_name, message_id_of
from mta.wire.imap.dates import read_date_time
from mta.wire.imap.mailbox import decode_name
from mta.wire.imap.scanner import Malformed, Scanner
from mta.wire.mbox import usable

_TIMEOUT = 120.0
_AT_ONCE = 500
_OCTETS_AT_ONCE = 4 * 2**20
_VIEWS = {"\\all", "\\flagged", "\\important"}
_USES = {use.lower(): use for use in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}
_BITS = {
    "\\seen": Flags.SEEN,
    "\\answered": Flags.ANSWERED,
    "\\flagged": Flags.FLAGGED,
    "\\deleted": Flags.DELETED,
    "\\draft": Flags.DRAFT,
}
_UID = re.compile(rb"\bUID (\d+)")
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)")
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_DATE = re.compile(rb'\bINTERNALDATE ("[^"]*")')


@dataclass(frozen=True, slots=True)
class Account:
    """Where the mail is. ``tls``: "implicit", "starttls" or "none"."""

    host: str
    port: int
    tls: str
    user: str
    password: str
    context: ssl.SSLContext


@dataclass(frozen=True, slots=True)
class Remote:
    """One folder there; ``raw``: its name as the server writes it."""

    folder: Folder
    raw: bytes


@dataclass(frozen=True, slots=True)
class Listed:
    """What one message is before its body is known."""

    uid: int
    flags: Flags
    keywords: frozenset[str]
    date: int
    size: int
    message_id: bytes


def parse_url(url: str, *, plaintext: bool) -> tuple[str, int, str]:
    """(host, port, tls) of ``imaps://host[:port]`` or ``imap://host[:port]``. Raises ValueError."""
    if not url.startswith(("imap://", "imaps://")):
        raise ValueError("must be imaps://host[:port], or imap://host[:port] for STARTTLS")
    at = parse_listen(url)
    if not at.host:
        raise ValueError("names no host")
    return at.host, at.port, "implicit" if at.scheme == "imaps" else "none" if plaintext else "starttls"


class Client:
    """One logged-in connection. Every method raises MailError with what to do."""

    def __init__(self, account: Account) -> None:
        self._where = f"{account.host}:{account.port}"
        self._imap = self._said("connecting", lambda: _connect(account))
        self._said("logging in", lambda: _login(self._imap, account), f"is the password of {account.user} right?")

    def close(self) -> None:
        try:
            self._imap.logout()
        except (imaplib.IMAP4.error, OSError):
            return

    def folders(self, exclude: Sequence[str] = ()) -> list[Remote]:
        """All that can be selected and hold messages of their own, INBOX first."""
        subscribed = {raw for _, _, raw in self._list("LSUB", "")}
        found: dict[bytes, Remote] = {}
        extended = "SPECIAL-USE" in self._imap.capabilities and "LIST-EXTENDED" in self._imap.capabilities
        for attributes, delimiter, raw in self._list("LIST", " RETURN (SPECIAL-USE)" if extended else ""):
            if attributes & ({"\\noselect", "\\nonexistent"} | _VIEWS):
                continue
            name = _name(raw, delimiter)
            if any(fnmatchcase(name, pattern) for pattern in exclude):
                continue
            use = next((_USES[word] for word in attributes if word in _USES), "")
            found[raw] = Remote(Folder(name, use, raw in subscribed), raw)
        return sorted(found.values(), key=lambda remote: (remote.folder.name != "INBOX", remote.folder.name))

    def _list(self, verb: str, options: str) -> Iterator[tuple[set[str], str, bytes]]:
        if options:
            self._said(verb, lambda: self._imap.xatom(verb, '"" "*"' + options))
            lines = self._imap.response(verb)[1]
        else:
            lines = self._said(verb, lambda: (self._imap.lsub if verb == "LSUB" else self._imap.list)('""', '"*"'))[1]
        for line in lines:
            if line:
                text, literals = (line[0] + b"\r\n", [line[1]]) if isinstance(line, tuple) else (line, [])
                try:
                    yield _read_list(Scanner(text, literals))
                except Malformed as exc:
                    raise MailError(f"{self._where}: {verb} was answered with {text!r}: {exc}") from exc

    def open(self, remote: Remote) -> int:
        """How many messages it has."""
        quoted = b'"' + remote.raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        answer = self._said(f"opening {remote.folder.name}", lambda: self._imap.select(quoted, readonly=True))
        return int(answer[1][0] or 0)

    def listed(self, first: int, last: int) -> list[Listed]:
        """The messages with these numbers."""
        items = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
        answer = self._said("listing messages", lambda: self._imap.fetch(f"{first}:{last}", items))
        return [one for one in map(_read_listed, _fetched(answer[1])) if one is not None]

    def bodies(self, uids: Sequence[int]) -> dict[int, bytes]:
        """By uid; without those that are gone."""
        wanted = ",".join(map(str, uids))
        answer = self._said("fetching messages", lambda: self._imap.uid("FETCH", wanted, "(UID BODY.PEEK[])"))
        out = {}
        for text, octets in _fetched(answer[1]):
            if (found := _UID.search(text)) and octets is not None:
                out[int(found[1])] = octets
        return out

    def _said(self, what: str, call: Callable[[], Any], hint: str = "") -> Any:
        try:
            answer = call()
        except ssl.SSLCertVerificationError as exc:
            reason = exc.verify_message or str(exc)
            raise MailError(f"{self._where}: its certificate: {reason}. --ca-file FILE trusts another authority") from exc
        except (imaplib.IMAP4.error, OSError, EOFError) as exc:
            advice = hint or "run the command again: it goes on where it stopped"
            raise MailError(f"{self._where}: {what}: {str(exc) or type(exc).__name__}; {advice}") from exc
        if isinstance(answer, tuple) and answer[0] not in ("OK", "BYE"):
            detail = answer[1][0].decode("utf-8", "replace") if answer[1] and isinstance(answer[1][0], bytes) else answer[0]
            raise MailError(f"{self._where}: {what}: {detail}")
        return answer


def _connect(account: Account) -> imaplib.IMAP4:
    if account.tls == "implicit":
        return imaplib.IMAP4_SSL(account.host, account.port, ssl_context=account.context, timeout=_TIMEOUT)
    client = imaplib.IMAP4(account.host, account.port, timeout=_TIMEOUT)
    if account.tls == "starttls":
        try:
            client.starttls(account.context)
        except BaseException:
            client.shutdown()
            raise
    return client


def _login(client: imaplib.IMAP4, account: Account) -> Any:
    """PLAIN where there is it: it takes every character (RFC 4616)."""
    if "AUTH=PLAIN" in client.capabilities:
        return client.authenticate("PLAIN", lambda _: f"\0{account.user}\0{account.password}".encode())
    return client.login(account.user, account.password)


def _read_list(scan: Scanner) -> tuple[set[str], str, bytes]:
    attributes = {word.decode("ascii").lower() for word in scan.parenthesised(lambda one: one.flag())}
    scan.space()
    delimiter = scan.nstring() or b""
    scan.space()
    return attributes, delimiter.decode("ascii", "replace"), scan.astring()


def _name(raw: bytes, delimiter: str) -> str:
    try:
        text = decode_name(raw, utf8=False)
    except Malformed:
        text = raw.decode("utf-8", "replace")
    return mailbox_name(text.split(delimiter) if delimiter else [text])


def _fetched(answer: Sequence[Any]) -> Iterator[tuple[bytes, bytes | None]]:
    """(all text of one FETCH, its literal)."""
    text, literal = b"", None
    for item in answer:
        if isinstance(item, tuple):
            text, literal = text + item[0], item[1]
        elif item is not None:
            yield text + b" " + item, literal
            text, literal = b"", None
    if text:
        yield text, literal


def _read_listed(fetched: tuple[bytes, bytes | None]) -> Listed | None:
    """None for what is no answer to us: flags that changed meanwhile."""
    text, head = fetched
    uid, flags, size, date = (pattern.search(text) for pattern in (_UID, _FLAGS, _SIZE, _DATE))
    if not (uid and flags and size and date):
        return None
    bits, words = Flags(0), []
    for word in flags[1].decode("ascii", "replace").split():
        if (bit := _BITS.get(word.lower())) is not None:
            bits |= bit
        elif not word.startswith("\\"):
            words.append(word)
    try:
        when = read_date_time(Scanner(date[1]))
    except Malformed:
        when = 0
    return Listed(int(uid[1]), bits, usable(words), when, int(size[1]), message_id_of(head or b""))


async def pull(client: Client, remote: Remote, taker: Taker, total: Callable[[int], None]) -> None:
    """Take one folder. ``total``: called with how many messages it has."""
    count = await asyncio.to_thread(client.open, remote)
    total(count)
    target = await taker.open(remote.folder)
    for first in range(1, count + 1, _AT_ONCE):
        there = await asyncio.to_thread(client.listed, first, min(first + _AT_ONCE - 1, count))
        wanted = [one for one in there if not await target.has(one.date, one.size, one.message_id)]
        for batch in _batches(wanted):
            await _take(client, remote, batch, target)
    await target.flush()


async def _take(client: Client, remote: Remote, batch: Sequence[Listed], target: Target) -> None:
    bodies = await asyncio.to_thread(client.bodies, [one.uid for one in batch])
    for one in batch:
        where = f"{remote.folder.name}, uid {one.uid}"
        if one.uid not in bodies:
            target.skip(f"{where}: gone meanwhile")
            continue
        await target.add(Found(OctetContent(crlf(bodies[one.uid])), one.flags, one.keywords, one.date, where))


def _batches(wanted: Sequence[Listed]) -> Iterator[list[Listed]]:
    batch: list[Listed] = []
    octets = 0
    for one in wanted:
        if batch and (octets + one.size > _OCTETS_AT_ONCE or len(batch) >= _AT_ONCE // 5):
            yield batch
            batch, octets = [], 0
        batch.append(one)
        octets += one.size
    if batch:
        yield batch
