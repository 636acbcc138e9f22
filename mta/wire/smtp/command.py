"""SMTP command lines as values (RFC 5321 §4.1.1, RFC 3207, RFC 4954, RFC 2033, RFC 3030, RFC 1985; XCLIENT and XFORWARD of Postfix).

``parse`` takes one line without its CRLF. A line holds printable characters only: control octets are refused whatever the
verb. Non-ASCII is UTF-8, and only after SMTPUTF8 was announced (RFC 6531 §3.1). Verbs and keywords in any case; trailing
spaces are tolerated (§4.1.1), and spaces behind the colon of FROM: and TO:, which old clients send (§3.3 forbids them).
Left out: which command is allowed when (mta.smtpd knows that).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mta.model.address import Address
from mta.model.errors import Refused
from mta.model.reply import Reply
from mta.wire.smtp.params import decode_xtext, parse_params
from mta.wire.smtp.path import parse_path

MAX_LINE = 2048  # octets with CRLF: 512 of RFC 5321 §4.5.3.1.4, and what SIZE, BODY, SMTPUTF8, AUTH and DSN parameters add
MAX_AUTH_LINE = 12288  # RFC 4954 §4

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CHUNK = re.compile(r"([0-9]{1,20})(?: +(LAST))?\Z", re.IGNORECASE)
_EHLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]\-]{1,255}\Z")


@dataclass(frozen=True, slots=True)
class Ehlo:
    name: str


@dataclass(frozen=True, slots=True)
class Helo:
    name: str


@dataclass(frozen=True, slots=True)
class Lhlo:
    name: str


@dataclass(frozen=True, slots=True)
class Mail:
    """``sender`` None is the null sender; keywords of ``params`` upper-cased, values verbatim."""

    sender: Address | None
    params: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Rcpt:
    """Keywords upper-cased; values verbatim, since ORCPT is case-sensitive (RFC 3461 §4.2)."""

    address: Address
    params: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Data:
    pass


@dataclass(frozen=True, slots=True)
class Bdat:
    """``size`` octets of the message follow the line (RFC 3030 §2)."""

    size: int
    last: bool


@dataclass(frozen=True, slots=True)
class Auth:
    """``initial`` None: no initial response; still base64 (RFC 4954 §4)."""

    mechanism: str
    initial: str | None


@dataclass(frozen=True, slots=True)
class StartTls:
    pass


@dataclass(frozen=True, slots=True)
class Rset:
    pass


@dataclass(frozen=True, slots=True)
class Noop:
    pass


@dataclass(frozen=True, slots=True)
class Vrfy:
    text: str


@dataclass(frozen=True, slots=True)
class Expn:
    text: str


@dataclass(frozen=True, slots=True)
class Help:
    topic: str


@dataclass(frozen=True, slots=True)
class Etrn:
    """``name`` as given, its "@" or "#" in front (RFC 1985 §5.1)."""

    name: str


@dataclass(frozen=True, slots=True)
class Xclient:
    """Attributes upper-cased, values decoded; "" for what the peer does not know."""

    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Xforward:
    """As ``Xclient``."""

    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Quit:
    pass


@dataclass(frozen=True, slots=True)
class Unknown:
    """``verb`` as sent, cut to 32 characters; ``args``: the rest of the line."""

    verb: str
    args: str = ""


Command = (
    Ehlo
    | Helo
    | Lhlo
    | Mail
    | Rcpt
    | Data
    | Bdat
    | Auth
    | StartTls
    | Rset
    | Noop
    | Vrfy
    | Expn
    | Help
    | Etrn
    | Xclient
    | Xforward
    | Quit
    | Unknown
)


def parse(line: bytes, *, utf8: bool = False) -> Command:
    """Read one command line.

    utf8     SMTPUTF8 was announced, so UTF-8 is allowed
    Raises   Refused with the reply for the peer: 500 5.5.2, 501 5.5.2, 501 5.5.4, 501 5.1.3 or 5.1.7
    """
    if line.isascii():
        text = line.decode("ascii").rstrip(" ")
        if not text.isprintable():
            raise Refused(Reply(500, "5.5.2", "control characters are not allowed"))
    else:
        text = _decode(line, utf8)
    verb, _, rest = text.partition(" ")
    reader = _READERS.get(verb.upper())
    return Unknown(verb[:32], rest) if reader is None else reader(rest)


def _decode(line: bytes, utf8: bool) -> str:
    if not utf8:
        raise Refused(Reply(500, "5.5.2", "non-ASCII characters need EHLO and SMTPUTF8"))
    try:
        text = line.decode("utf-8").rstrip(" ")
    except UnicodeDecodeError:
        raise Refused(Reply(500, "5.5.2", "not UTF-8")) from None
    if _CONTROL.search(text):
        raise Refused(Reply(500, "5.5.2", "control characters are not allowed"))
    return text


def _greeting(kind: Callable[[str], Command], verb: str) -> Callable[[str], Command]:
    def read(rest: str) -> Command:
        if not _EHLO_NAME.match(rest):
            raise Refused(Reply(501, "5.5.4", f"syntax: {verb} hostname"))
        return kind(rest)

    return read


def _bare(command: Command, verb: str) -> Callable[[str], Command]:
    def read(rest: str) -> Command:
        if rest:
            raise Refused(Reply(501, "5.5.4", f"{verb} takes no parameter"))
        return command

    return read


def _mail(rest: str) -> Command:
    if rest[:5].upper() != "FROM:":
        raise Refused(Reply(501, "5.5.4", "syntax: MAIL FROM:<address>"))
    sender, params = parse_path(rest[5:].lstrip(" "), null=True)
    return Mail(sender, parse_params(params) if params else {})


def _rcpt(rest: str) -> Command:
    if rest[:3].upper() != "TO:":
        raise Refused(Reply(501, "5.5.4", "syntax: RCPT TO:<address>"))
    address, params = parse_path(rest[3:].lstrip(" "), null=False)
    if address is None:
        raise Refused(Reply(501, "5.1.3", "a recipient is needed"))
    return Rcpt(address, parse_params(params) if params else {})


def _bdat(rest: str) -> Command:
    if (match := _CHUNK.match(rest)) is None:
        # what follows may be a message, in whoever's name: not one octet of it is obeyed
        raise Refused(Reply(501, "5.5.4", "syntax: BDAT size [LAST]", close=True))
    return Bdat(int(match[1]), match[2] is not None)


def _auth(rest: str) -> Command:
    mechanism, _, initial = rest.partition(" ")
    if not mechanism or " " in initial:
        raise Refused(Reply(501, "5.5.4", "syntax: AUTH mechanism [initial-response]"))
    return Auth(mechanism.upper(), initial or None)


def _attributes(kind: Callable[[Mapping[str, str]], Command], verb: str) -> Callable[[str], Command]:
    def read(rest: str) -> Command:
        out: dict[str, str] = {}
        for word in rest.split():
            name, equals, value = word.partition("=")
            try:
                plain = decode_xtext(value)
            except ValueError:
                plain = "\0"
            if not equals or not name.isidentifier() or not plain.isprintable():
                raise Refused(Reply(501, "5.5.4", f"syntax: {verb} name=value ..."))
            out[name.upper()] = "" if plain.upper() in ("[UNAVAILABLE]", "[TEMPUNAVAIL]") else plain
        if not out:
            raise Refused(Reply(501, "5.5.4", f"syntax: {verb} name=value ..."))
        return kind(out)

    return read


def _about(kind: Callable[[str], Command], verb: str) -> Callable[[str], Command]:
    def read(rest: str) -> Command:
        if not rest:
            raise Refused(Reply(501, "5.5.4", f"{verb} needs a parameter"))
        return kind(rest)

    return read


_READERS: Mapping[str, Callable[[str], Command]] = {
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _bare(Data(), "DATA"),
    "BDAT": _bdat,
    "EHLO": _greeting(Ehlo, "EHLO"),
    "HELO": _greeting(Helo, "HELO"),
    "LHLO": _greeting(Lhlo, "LHLO"),
    "AUTH": _auth,
    "STARTTLS": _bare(StartTls(), "STARTTLS"),
    "RSET": _bare(Rset(), "RSET"),
    "NOOP": lambda _rest: Noop(),  # RFC 5321 §4.1.1.9: any parameter is ignored
    "VRFY": _about(Vrfy, "VRFY"),
    "EXPN": _about(Expn, "EXPN"),
    "HELP": Help,
    "ETRN": _about(Etrn, "ETRN"),
    "XCLIENT": _attributes(Xclient, "XCLIENT"),
    "XFORWARD": _attributes(Xforward, "XFORWARD"),
    "QUIT": _bare(Quit(), "QUIT"),
}

VERBS = frozenset(_READERS)
"""Those that have a meaning here."""
