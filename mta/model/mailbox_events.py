"""Names of mailbox events (RFC 5423 §4.2): what a change of flags is called. For every store that writes ``mailbox_event``.

\\Seen set is MessageRead, \\Deleted set is MessageTrash; FlagsSet has all others, FlagsClear whatever was taken away.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.message import Flags

_NAMES = {
    Flags.SEEN: "\\Seen",
    Flags.ANSWERED: "\\Answered",
    Flags.FLAGGED: "\\Flagged",
    Flags.DELETED: "\\Deleted",
    Flags.DRAFT: "\\Draft",
}

Kind = tuple[int, str]
"""Flags and keywords as stored: bits, and words separated by spaces."""


def flag_names(flags: int, keywords: str = "") -> list[str]:
    """As clients write them."""
    return [name for flag, name in _NAMES.items() if flags & flag] + keywords.split()


def flag_events(old: Kind, new: Kind) -> list[tuple[str, tuple[str, ...]]]:
    """(event, names of the flags that it is about), in this order: MessageRead, MessageTrash, FlagsSet, FlagsClear."""
    was, now = flag_names(*old), flag_names(*new)
    came, gone = [n for n in now if n not in was], [n for n in was if n not in now]
    sets = {
        "MessageRead": [n for n in came if n == "\\Seen"],
        "MessageTrash": [n for n in came if n == "\\Deleted"],
        "FlagsSet": [n for n in came if n not in ("\\Seen", "\\Deleted")],
        "FlagsClear": gone,
    }
    return [(event, tuple(names)) for event, names in sets.items() if names]
