"""What rights on another's mailbox mean for flags and for how it is open (RFC 4314 §4, §5.2)."""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING

from mta.model.message import Flags
from mta.model.rights import effective
from mta_hooks.backends.extras import Sharing

if TYPE_CHECKING:
    from mta.imapd.selected import Selected


def mask(rights: str) -> int:
    """System flags that may be set: "s" \\Seen, "t" \\Deleted, "w" all others (and keywords)."""
    seen = Flags.SEEN if "s" in rights else Flags(0)
    deleted = Flags.DELETED if "t" in rights else Flags(0)
    others = (Flags.ANSWERED | Flags.FLAGGED | Flags.DRAFT) if "w" in rights else Flags(0)
    return int(seen | deleted | others)


def writes(rights: str) -> bool:
    """A mailbox on which nothing of this can be done is open read-only (RFC 4314 §5.2)."""
    return any(letter in rights for letter in "swtei")


async def still_open(sharing: Sharing | None, selected: "Selected") -> bool:
    """Take over what the list gives now. False: reading is not among it."""
    selected.rights = "" if sharing is None else effective(await sharing.entries(selected.mailbox), selected.reader)
    if "r" not in selected.rights:
        selected.revoked = True
        return False
    selected.read_only = selected.examined or not writes(selected.rights)
    return True
