"""XCLIENT and XFORWARD (Postfix's XCLIENT_README and XFORWARD_README): a proxy or filter says for whom it speaks.

Only peers that the config lists are believed; for all others the verbs do not exist. XCLIENT makes the session that of the client
it names, as if it had connected itself: limits and hooks of a new connection see it, and everything said before is forgotten.
XFORWARD changes nothing that is decided: hooks find what it says in ``session.notes``.
"""
# SPDX-License-Identifier: Apache-2.0

from ipaddress import ip_address

from mta.model.reply import Reply
from mta.smtpd import replies
from mta.smtpd.protocol import SmtpProtocol, Step
from mta.wire.smtp.command import Xclient, Xforward

XCLIENT = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
XFORWARD = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"
_KNOWN = frozenset(XCLIENT.split()[1:])
_FORWARDED = frozenset(XFORWARD.split()[1:])
_OK = Reply(250, "2.0.0", "ok")


def xclient(link: SmtpProtocol, command: Xclient) -> Step:
    given = command.attributes
    if not link.speaks_for_others:
        return replies.UNKNOWN
    if link.transaction is not None:
        return replies.NOW_MAIL
    try:
        said = {name: _read(name, value) for name, value in given.items()}
    except ValueError as exc:
        return Reply(501, "5.5.4", str(exc))
    peer, server = link.peer, link.server
    before = peer.client_ip
    server.uncount(link)
    link.end_transaction("xclient")
    peer.client_ip, peer.client_port = said.get("ADDR", peer.client_ip), int(said.get("PORT") or peer.client_port)
    peer.local_ip, peer.local_port = said.get("DESTADDR") or peer.local_ip, int(said.get("DESTPORT") or peer.local_port)
    peer.user, peer.user_id = said.get("LOGIN", ""), None
    peer.helo, peer.esmtp = said.get("HELO", ""), False
    peer.score, peer.steps = 0.0, ()
    link.trusted = False
    if name := said.get("NAME"):
        peer.notes["client_name"] = name
    server.log.info("smtp.xclient", session=peer.id, client=peer.client_ip, by=before, user=peer.user)
    return server.admit(link)


def xforward(link: SmtpProtocol, command: Xforward) -> Step:
    if not link.speaks_for_others:
        return replies.UNKNOWN
    if unknown := command.attributes.keys() - _FORWARDED:
        return Reply(501, "5.5.4", f"attribute {min(unknown)} is not known")
    link.peer.notes["xforward"] = {**link.peer.notes.get("xforward", {}), **command.attributes}
    return _OK


def _read(name: str, value: str) -> str:
    """Raises ValueError with a reason for the peer."""
    if name not in _KNOWN:
        raise ValueError(f"attribute {name} is not known")
    if name in ("ADDR", "DESTADDR") and value:
        text = value[5:] if value[:5].upper() == "IPV6:" else value
        try:
            return str(ip_address(text))
        except ValueError:
            raise ValueError(f"{name} is an address") from None
    if name in ("PORT", "DESTPORT") and value and not (value.isascii() and value.isdigit() and int(value) < 65536):
        raise ValueError(f"{name} is a port")
    return value
