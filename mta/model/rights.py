"""What somebody may do with a mailbox that is another's (RFC 4314 §2.1): letters, kept sorted in the order of ``ALL``.

``c`` and ``d`` of RFC 2086 are read as what they are tied to (``TIED``) and shown beside it; they are never stored.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping

ALL = "lrswipkxtea"
"""lookup, read, seen, write (other flags), insert, post, create below, delete mailbox, \\Deleted, expunge, administer."""
TIED = {"c": "k", "d": "xte"}
ANYONE, AUTHENTICATED = "anyone", "authenticated"
_KNOWN = frozenset(ALL) | TIED.keys()


def read_rights(text: str) -> str:
    """Letters as a client or an operator writes them. Raises ValueError for one that is none."""
    letters = set(text)
    if letters - _KNOWN:
        raise ValueError(f"no such right: {''.join(sorted(letters - _KNOWN))}")
    for old, new in TIED.items():
        if old in letters:
            letters.update(new)
    return in_order(letters)


def in_order(letters: "set[str] | frozenset[str]") -> str:
    return "".join(letter for letter in ALL if letter in letters)


def shown(rights: str) -> str:
    """As ACL and MYRIGHTS tell them: an old letter is there when something that it is tied to is (RFC 4314 §2.1.1)."""
    return rights + "".join(old for old, new in TIED.items() if any(letter in rights for letter in new))


def changed(before: str, modification: str) -> str:
    """``before`` after ``+rw``, ``-rw`` or ``rw`` (RFC 4314 §3.1). Raises ValueError."""
    sign = modification[:1]
    letters = set(read_rights(modification[1:] if sign in ("+", "-") else modification))
    if sign == "+":
        return in_order(letters | set(before))
    if sign == "-":
        return in_order(set(before) - letters)
    return in_order(letters)


def effective(entries: Mapping[str, str], user: str) -> str:
    """What the entries of a mailbox's list give ``user``: all that is granted, less all that a negative entry takes (RFC 4314 §2).

    user  the account's address; "" is somebody who did not log in
    """
    names = (ANYONE, AUTHENTICATED, user.lower()) if user else (ANYONE,)
    granted = {letter for name in names for letter in entries.get(name, "")}
    taken = {letter for name in names for letter in entries.get("-" + name, "")}
    return in_order(granted - taken)


def identifier(text: str) -> str:
    """One spelling for each: addresses and reserved words in lower case, "-" before a negative entry. Raises ValueError."""
    name = text.lower()
    bare = name.removeprefix("-")
    if bare in (ANYONE, AUTHENTICATED):
        return name
    if bare.count("@") != 1 or len(bare) > 320 or not bare.isprintable() or " " in bare or bare.startswith("-"):
        raise ValueError("an identifier is an address, anyone or authenticated, with - before it to take rights away")
    return name
