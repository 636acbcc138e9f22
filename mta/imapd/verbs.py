"""The verbs: who runs each, in which state it may be said, and whether EXPUNGE may be said before its answer.

RFC 9051 §6 for the states, §7.5.1 for EXPUNGE: never during FETCH, STORE and SEARCH by number, whose numbers it would move.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple

from mta.imapd import (
    acl,
    capability,
    compress,
    contexts,
    copy,
    idle,
    listing,
    login,
    mailboxes,
    metadata,
    quota,
    select,
    sort,
    starttls,
    urlauth,
)
from mta.imapd.answer import bad
from mta.imapd.append import append
from mta.imapd.batches import batches
from mta.imapd.brought import brought
from mta.imapd.capability import greeting
from mta.imapd.expunge import expunge
from mta.imapd.fetch import fetch
from mta.imapd.language import language
from mta.imapd.multisearch import multisearch
from mta.imapd.notify import notify
from mta.imapd.replace import replace
from mta.imapd.session import Session
from mta.imapd.store import store
from mta.imapd.unauthenticate import unauthenticate

__all__ = ["GATHERED", "VERBS", "Verb", "greeting"]


class When(Enum):
    ANY = "in any state"
    NEW = "before login"
    LOGGED_IN = "after login"
    SELECTED = "with a mailbox open"


class Verb(NamedTuple):
    """``run`` returns the tagged answer without its tag, or None when it has said all itself."""

    run: Callable[[Session, Any], Awaitable[bytes | None]]
    when: When
    expunge: bool = True
    numbers: bool = False
    """It names messages by their numbers."""

    def check(self, session: Session) -> None:
        """Raises Answer: BAD in the wrong state."""
        if self.when is When.SELECTED:
            if session.selected is None:
                raise bad(b"open a mailbox first" if session.user is not None else b"log in first")
            if self.numbers and session.uidonly:
                raise bad(b"no message numbers", b"UIDREQUIRED")  # RFC 9586 §3.1
        elif self.when is When.LOGGED_IN:
            if session.user is None:
                raise bad(b"log in first")
        elif self.when is When.NEW and session.user is not None:
            raise bad(b"logged in already")


VERBS: dict[str, Verb] = {
    "CAPABILITY": Verb(capability.capability, When.ANY),
    "NOOP": Verb(capability.noop, When.ANY),
    "LOGOUT": Verb(capability.logout, When.ANY),
    "ID": Verb(capability.identify, When.ANY),
    "STARTTLS": Verb(starttls.starttls, When.NEW),
    "LOGIN": Verb(login.login, When.NEW),
    "AUTHENTICATE": Verb(login.authenticate, When.NEW),
    "ENABLE": Verb(capability.enable, When.LOGGED_IN),
    "COMPRESS": Verb(compress.compress, When.LOGGED_IN),
    "NAMESPACE": Verb(capability.namespace, When.LOGGED_IN),
    "SELECT": Verb(select.select, When.LOGGED_IN),
    "EXAMINE": Verb(select.examine, When.LOGGED_IN),
    "CREATE": Verb(mailboxes.create, When.LOGGED_IN),
    "DELETE": Verb(mailboxes.delete, When.LOGGED_IN),
    "RENAME": Verb(mailboxes.rename, When.LOGGED_IN),
    "SUBSCRIBE": Verb(mailboxes.subscribe, When.LOGGED_IN),
    "UNSUBSCRIBE": Verb(mailboxes.unsubscribe, When.LOGGED_IN),
    "LIST": Verb(listing.list_, When.LOGGED_IN),
    "LSUB": Verb(listing.lsub, When.LOGGED_IN),
    "STATUS": Verb(listing.status, When.LOGGED_IN),
    "UNAUTHENTICATE": Verb(unauthenticate, When.LOGGED_IN),
    "LANGUAGE": Verb(language, When.ANY),
    "NOTIFY": Verb(notify, When.LOGGED_IN),
    "GETMETADATA": Verb(metadata.get_metadata, When.LOGGED_IN),
    "SETMETADATA": Verb(metadata.set_metadata, When.LOGGED_IN),
    "GETQUOTA": Verb(quota.get_quota, When.LOGGED_IN),
    "GETQUOTAROOT": Verb(quota.get_quota_root, When.LOGGED_IN),
    "SETQUOTA": Verb(quota.set_quota, When.LOGGED_IN),
    "GETACL": Verb(acl.get_acl, When.LOGGED_IN),
    "SETACL": Verb(acl.set_acl, When.LOGGED_IN),
    "DELETEACL": Verb(acl.delete_acl, When.LOGGED_IN),
    "LISTRIGHTS": Verb(acl.list_rights, When.LOGGED_IN),
    "MYRIGHTS": Verb(acl.my_rights, When.LOGGED_IN),
    "APPEND": Verb(append, When.LOGGED_IN),
    "IDLE": Verb(idle.idle, When.LOGGED_IN),
    "DONE": Verb(idle.done, When.LOGGED_IN),
    "OTHER": Verb(brought, When.ANY),
    "CHECK": Verb(capability.noop, When.SELECTED),
    "CLOSE": Verb(select.close, When.SELECTED),
    "UNSELECT": Verb(select.unselect, When.SELECTED),
    "EXPUNGE": Verb(expunge, When.SELECTED),
    "UID EXPUNGE": Verb(expunge, When.SELECTED),
    "GENURLAUTH": Verb(urlauth.genurlauth, When.LOGGED_IN),
    "URLFETCH": Verb(urlauth.urlfetch, When.LOGGED_IN),
    "RESETKEY": Verb(urlauth.resetkey, When.LOGGED_IN),
    "CANCELUPDATE": Verb(contexts.cancel, When.SELECTED),
    "ESEARCH": Verb(multisearch, When.LOGGED_IN),
    "UIDBATCHES": Verb(batches, When.SELECTED),
    "FETCH": Verb(fetch, When.SELECTED, expunge=False, numbers=True),
    "UID FETCH": Verb(fetch, When.SELECTED),
    "STORE": Verb(store, When.SELECTED, expunge=False, numbers=True),
    "UID STORE": Verb(store, When.SELECTED),
    "SEARCH": Verb(contexts.search, When.SELECTED, expunge=False, numbers=True),
    "UID SEARCH": Verb(contexts.search, When.SELECTED),
    "SORT": Verb(sort.sort, When.SELECTED, expunge=False, numbers=True),
    "UID SORT": Verb(sort.sort, When.SELECTED),
    "THREAD": Verb(sort.thread, When.SELECTED, expunge=False, numbers=True),
    "UID THREAD": Verb(sort.thread, When.SELECTED),
    "COPY": Verb(copy.copy, When.SELECTED, numbers=True),
    "UID COPY": Verb(copy.copy, When.SELECTED),
    "MOVE": Verb(copy.move, When.SELECTED, numbers=True),
    "UID MOVE": Verb(copy.move, When.SELECTED),
    "REPLACE": Verb(replace, When.SELECTED, numbers=True),
    "UID REPLACE": Verb(replace, When.SELECTED),
}
GATHERED = frozenset({"FETCH", "UID FETCH", "STORE", "UID STORE", "APPEND"})
"""Verbs that look at what follows them in the pipeline."""
