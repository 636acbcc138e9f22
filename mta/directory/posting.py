"""Mail to ``local+folder@domain``: into that folder of the account when its access list lets the sender post there (RFC 4314 §2.1, "p").

Without such an entry an address with a detail is the account's like any other, and the message goes where it always goes.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.errors import NoSuchMailbox
from mta.model.ids import UserId
from mta.model.rights import effective
from mta_hooks.backends import Database, extras_of


async def posted_to(database: Database, user: UserId, detail: str, login: str) -> str | None:
    """The folder that ``detail`` names, if it may be posted to by ``login`` ("": somebody who did not log in)."""
    store = getattr(database, "store", None)  # none while something is only tried: then nobody posts
    sharing = extras_of(store).sharing
    if store is None or sharing is None:
        return None
    try:
        mailbox = await store.mailbox(user, detail)
    except NoSuchMailbox:
        return None
    return mailbox.name if "p" in effective(await sharing.entries(mailbox.id), login) else None
