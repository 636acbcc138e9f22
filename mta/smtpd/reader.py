"""Who takes octets instead of command lines for a while: a message, a PROXY header."""
# SPDX-License-Identifier: Apache-2.0

from typing import TYPE_CHECKING, Protocol

from mta.model.reply import Reply

if TYPE_CHECKING:
    from mta.smtpd.protocol import Step


class Reader(Protocol):
    """Takes whole pieces instead of command lines: a message, a PROXY header."""

    @property
    def deadline(self) -> float:
        """Loop time by which it must have everything."""
        ...

    @property
    def overdue(self) -> Reply:
        """What the peer is told when it has not."""
        ...

    def feed(self, octets: bytes) -> "Step": ...
