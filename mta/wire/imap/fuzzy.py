"""FUZZY (RFC 6203): what it wraps, taken loosely or to the letter."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import replace

from mta.wire.imap.search_keys import And, Fuzzy, Header, Key, Not, Or, Text

_MOST_WORDS = 10


def has_fuzzy(key: Key) -> bool:
    if isinstance(key, And):
        return any(map(has_fuzzy, key.keys))
    if isinstance(key, Or):
        return has_fuzzy(key.left) or has_fuzzy(key.right)
    return isinstance(key, Fuzzy) or (isinstance(key, Not) and has_fuzzy(key.key))


def exactly(key: Key) -> Key:
    """Without FUZZY."""
    return _without_fuzzy(key, loose=False, inside=False)


def loosely(key: Key) -> Key:
    """FUZZY as it is meant here: a text of several words matches where each of them is, in any order (RFC 6203 §3 leaves it open)."""
    return _without_fuzzy(key, loose=True, inside=False)


def _without_fuzzy(key: Key, *, loose: bool, inside: bool) -> Key:
    if isinstance(key, Fuzzy):
        return _without_fuzzy(key.key, loose=loose, inside=True)
    if isinstance(key, And):
        return And(tuple(_without_fuzzy(each, loose=loose, inside=inside) for each in key.keys))
    if isinstance(key, Or):
        left, right = (_without_fuzzy(each, loose=loose, inside=inside) for each in (key.left, key.right))
        return Or(left, right)
    if isinstance(key, Not):
        return Not(_without_fuzzy(key.key, loose=loose, inside=inside))
    if loose and inside and isinstance(key, Header | Text):
        words = key.text.split()[:_MOST_WORDS]
        if len(words) > 1:
            return And(tuple(replace(key, text=word) for word in words))
    return key
