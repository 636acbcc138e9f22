"""The table of verbs: what runs, and in which state (RFC 1939 §4, §5)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple

from mta.pop3d.auth import auth
from mta.pop3d.brought import brought
from mta.pop3d.capa import capa
from mta.pop3d.dele import dele
from mta.pop3d.lang import lang
from mta.pop3d.list import list_
from mta.pop3d.noop import noop
from mta.pop3d.pass_ import pass_
from mta.pop3d.quit import quit_
from mta.pop3d.retr import retr
from mta.pop3d.rset import rset
from mta.pop3d.session import Session
from mta.pop3d.stat import stat
from mta.pop3d.stls import stls
from mta.pop3d.top import top
from mta.pop3d.uidl import uidl
from mta.pop3d.user import user
from mta.pop3d.utf8 import utf8

Step = bytes | Awaitable[bytes]
"""The answer, or work that must wait and then gives it."""


class Verb(NamedTuple):
    """``argument``: "none" and "one" are checked before ``run``; "free" may be anything."""

    run: Callable[[Session, bytes], Step]
    state: Literal["authorization", "transaction", "any"]
    argument: Literal["none", "one", "free"] = "none"


VERBS = {
    "CAPA": Verb(capa, "any"),
    "QUIT": Verb(quit_, "any"),
    "USER": Verb(user, "authorization", "one"),
    "PASS": Verb(pass_, "authorization", "free"),
    "AUTH": Verb(auth, "authorization", "free"),
    "STLS": Verb(stls, "authorization"),
    "UTF8": Verb(utf8, "authorization"),
    "LANG": Verb(lang, "any", "free"),
    "STAT": Verb(stat, "transaction"),
    "LIST": Verb(list_, "transaction", "free"),
    "UIDL": Verb(uidl, "transaction", "free"),
    "RETR": Verb(retr, "transaction", "one"),
    "TOP": Verb(top, "transaction", "one"),
    "DELE": Verb(dele, "transaction", "one"),
    "RSET": Verb(rset, "transaction"),
    "NOOP": Verb(noop, "transaction"),
}


def brought_verb(session: Session, name: str) -> Verb | None:
    """The command of a plugin's capability."""
    offer = session.server.hooks.offering.commands.get(("pop3", name))
    if offer is None:
        return None
    found = offer
    return Verb(lambda s, argument: brought(s, found, argument), "any" if offer.before_login else "transaction", "free")


FOREIGN = frozenset({"GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "EHLO", "HELO"})
"""First words of other protocols: somebody makes a browser talk to us (ALPACA), or errs about the port."""
