"""CAPABILITY, NOOP, CHECK, LOGOUT, ID, ENABLE, NAMESPACE (RFC 9051 §6.1, §6.3.1, §6.3.10; RFC 2971).

What is advertised here works completely; LITERAL+ includes LITERAL- (RFC 7888 §5).
"""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta.imapd.answer import ok
from mta.imapd.session import Session
from mta.wire.imap.command import Id

if TYPE_CHECKING:
    from mta.imapd.server import ImapServer

_ALWAYS = b"IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE"
_LOGGED_IN = (
    _ALWAYS
    + b" IDLE NAMESPACE UNSELECT UIDPLUS MOVE MULTIAPPEND CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE"
    + b" STATUS=SIZE ESEARCH SEARCHRES WITHIN CONDSTORE QRESYNC"
    + b" SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES SEARCH=FUZZY PARTIAL"
    + b" COMPRESS=DEFLATE BINARY STATUS=DELETED UTF8=ACCEPT PREVIEW UIDONLY INPROGRESS CATENATE URL-PARTIAL UIDBATCHES MULTISEARCH CONTEXT=SEARCH"
)


def _logged_in(server: "ImapServer") -> bytes:
    """What is offered after login: the same for everyone, from the configuration and what the store can do."""
    words = [_LOGGED_IN, b"APPENDLIMIT=%d" % server.config.limits.message_size]
    extras = server.extras
    if extras.quotas is not None:
        words.append(b"QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE")
    if extras.annotations is not None:
        words.append(b"METADATA LIST-METADATA")
    words.append(b"UNAUTHENTICATE LANGUAGE I18NLEVEL=1 NOTIFY")
    if extras.sharing is not None:
        words.append(b"ACL RIGHTS=kxte LIST-MYRIGHTS")
    if server.stable_ids:
        words.append(b"OBJECTID")
    if server.save_dates is not None:
        words.append(b"SAVEDATE")
    if server.replacing is not None:
        words.append(b"REPLACE")
    if extras.annotations is not None:
        words.append(b"URLAUTH FILTERS")  # filters are kept with SETMETADATA (RFC 5466 §2.1)
    if most := server.config.limits.imap_messages:
        words.append(b"MESSAGELIMIT=%d" % most)
    return b" ".join(words)


def capabilities(session: Session) -> bytes:
    """What is true for this connection now, what plugins bring included, less what is hidden from it."""
    hidden = session.hidden
    if session.user is not None:
        brought = session.server.hooks.offering.lines
        if not hidden and "imap" not in brought:
            return session.server.offer(_logged_in)
        return _shown([session.server.offer(_logged_in), *_brought(session)], hidden)
    out = [_ALWAYS]
    if session.server.tls is not None and not session.peer.tls:
        out.append(b"STARTTLS")
    if not (session.secure and session.server.sasl.passwords):
        out.append(b"LOGINDISABLED")
    out += [b"AUTH=" + name.encode("ascii") for name in session.server.sasl.offered(session.door)]
    return _shown([*out, *_brought(session)], hidden)


def _brought(session: Session) -> list[bytes]:
    offering = session.server.hooks.offering
    return [line.encode("ascii") for line in offering.advertised("imap", logged_in=session.user is not None)]


def _shown(words: list[bytes], hidden: frozenset[str]) -> bytes:
    line = b" ".join(words)
    if not hidden:
        return line
    if "LITERAL+" in hidden:  # the lesser promise is kept too, and is no longer implied (RFC 7888 §5)
        line += b" LITERAL-"
    return b" ".join(word for word in line.split(b" ") if not _is_hidden(word.decode("ascii").upper(), hidden))


def _is_hidden(word: str, hidden: frozenset[str]) -> bool:
    """``APPENDLIMIT=52428800`` is hidden by its name; THREAD=REFERENCES only as a whole."""
    name, _, value = word.partition("=")
    return word in hidden or (value.isdecimal() and name in hidden)


def greeting(session: Session) -> bytes:
    return b"* OK [CAPABILITY %b] %b ready\r\n" % (capabilities(session), session.server.config.hostname.encode("ascii", "replace"))


async def capability(session: Session, _: None) -> bytes:
    session.out.write(b"* CAPABILITY %b\r\n" % capabilities(session))
    return ok(b"that is all")


async def noop(session: Session, _: None) -> bytes:
    """NOOP and CHECK: the moment to hear of changes, whoever made them."""
    if session.selected is not None:
        await session.selected.view.refresh(force=True)
    return ok(b"done")


async def logout(session: Session, _: None) -> bytes:
    session.leave()
    session.out.write(b"* BYE see you\r\n")
    session.end("quit")
    return ok(b"logged out")


async def identify(session: Session, command: Id) -> bytes:
    if command.fields:
        known = {key: value for key, value in command.fields if key in ("name", "version", "os", "vendor")}
        session.server.log.info("imap.client", session=session.peer.id, user=session.peer.user, **known)
    session.out.write(b'* ID ("name" "mta")\r\n')
    return ok(b"pleased to meet you")


async def enable(session: Session, names: tuple[str, ...]) -> bytes:
    """RFC 5161: names that we do not know are passed over."""
    done: list[bytes] = []
    if "IMAP4REV2" in names:
        session.rev2 = session.utf8 = True
        if session.selected is not None:
            session.selected.rev2 = True
        done.append(b"IMAP4rev2")
    if "UTF8=ACCEPT" in names:
        session.utf8 = session.charset_fixed = True
        done.append(b"UTF8=ACCEPT")
    if "CONDSTORE" in names:
        session.use_condstore()
        done.append(b"CONDSTORE")
    if "QRESYNC" in names:
        session.use_condstore()
        session.qresync = True
        if session.selected is not None:
            session.selected.qresync = True
        done.append(b"QRESYNC")
    if "UIDONLY" in names:
        session.uidonly = True
        if session.selected is not None:
            session.selected.uidonly = True
        done.append(b"UIDONLY")
    session.out.write(b"* ENABLED%b\r\n" % b"".join(b" " + name for name in done))
    return ok(b"enabled")


async def namespace(session: Session, _: None) -> bytes:
    others = shared = b"NIL"
    if session.server.extras.sharing is not None:
        others = b'(("user/" "/"))'
        shared = b'(("shared/" "/"))' if session.server.shared_accounts else b"NIL"
    session.out.write(b'* NAMESPACE (("" "/")) %b %b\r\n' % (others, shared))
    return ok(b"that is all")
