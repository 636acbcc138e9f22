"""What ``mta mailbox undelete`` brings back."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Restoration:
    """What one folder gets back, or would.

    folder    its name
    messages  how many come back; ``flags``: how many others get the flags back that they had then
    size      octets of the messages
    made      the folder itself was deleted
    renamed   what it was called until now; "": it has its name still
    subscribed  the subscription it has again; None: that did not change
    elsewhere messages that were there and lie in another folder of the account now; they are left there
    """

    folder: str
    messages: int = 0
    flags: int = 0
    size: int = 0
    made: bool = False
    elsewhere: int = 0
    renamed: str = ""
    subscribed: bool | None = None
