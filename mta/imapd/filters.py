"""SEARCH FILTER (RFC 5466): criteria under a name, kept as annotations of the server; the account's own before everybody's."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping

from mta.imapd.answer import bad, no
from mta.imapd.search_columns import count_keys
from mta.imapd.session import Session
from mta.wire.imap.scanner import Malformed
from mta.wire.imap.search import MOST_KEYS, UnknownCharset, read_criteria
from mta.wire.imap.search_keys import And, Filter, Fuzzy, Key, Not, Or

ENTRIES = "/filters/values/"
_MOST = 50
"""Filters that one search looks up, those that filters name included."""


def names_filter(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(names_filter, key.keys))
    if isinstance(key, Or):
        return names_filter(key.left) or names_filter(key.right)
    return isinstance(key, Filter) or (isinstance(key, Not | Fuzzy) and names_filter(key.key))


async def expand(session: Session, key: Key) -> Key:
    """``key`` with each filter's criteria in its place. Raises Answer: NO [UNDEFINED-FILTER name]."""
    if not names_filter(key):
        return key
    annotations = session.server.extras.annotations
    if annotations is None:
        raise bad(b"no FILTERS here")
    own = await annotations.annotations(None, session.account)
    shared = await annotations.annotations(None, None)
    expanded = _Expansion({**shared, **own}).key(key)
    if count_keys(expanded) > MOST_KEYS:
        raise no(b"too many search keys", b"LIMIT")
    return expanded


class _Expansion:
    """Bounded by the number of filters, so that one which names itself ends too."""

    def __init__(self, entries: Mapping[str, bytes]) -> None:
        self._entries = entries
        self._left = _MOST

    def key(self, key: Key) -> Key:
        if isinstance(key, And):
            return And(tuple(map(self.key, key.keys)))
        if isinstance(key, Or):
            return Or(self.key(key.left), self.key(key.right))
        if isinstance(key, Not | Fuzzy):
            return type(key)(self.key(key.key))
        return self._filter(key.name) if isinstance(key, Filter) else key

    def _filter(self, name: str) -> Key:
        self._left -= 1
        if self._left < 0:
            raise no(b"too many filters", b"LIMIT")
        code = b"UNDEFINED-FILTER " + name.encode("ascii")
        value = self._entries.get(ENTRIES + name.lower())
        if value is None:
            raise no(b"no such filter", code)
        try:
            criteria = read_criteria(value)
        except (Malformed, UnknownCharset):
            raise no(b"what this filter holds are no search criteria", code) from None
        return self.key(criteria)
