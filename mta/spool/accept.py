"""The door to the database, and what its failures say to the peer."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.errors import MailError, NoSuchUser, OverQuota, StorageDead, StorageFull, TemporaryFailure
from mta.model.reply import Reply

FULL = Reply(452, "4.3.1", "insufficient storage, try again later")
UNAVAILABLE = Reply(451, "4.3.0", "storage is unavailable, try again later")
OVER_QUOTA = Reply(552, "5.2.2", "mailbox is full")
GONE = Reply(550, "5.1.1", "no such user here")
DEAD = Reply(421, "4.3.0", "storage failed, closing", close=True)


def reply_for(failure: MailError) -> Reply:
    """The answer for a storage failure; TemporaryFailure of any other kind is 451 4.3.0."""
    if isinstance(failure, StorageFull):
        return FULL
    if isinstance(failure, OverQuota):
        return OVER_QUOTA
    if isinstance(failure, NoSuchUser):
        return GONE
    if isinstance(failure, StorageDead):
        return DEAD
    if isinstance(failure, TemporaryFailure):
        return UNAVAILABLE
    raise failure
