"""How much an account may hold, and holds (RFC 9208 §5)."""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Octets and messages in all mailboxes of an account; a limit of 0 is none."""

    octets: int
    octets_limit: int
    messages: int
    messages_limit: int

    @property
    def limited(self) -> bool:
        return bool(self.octets_limit or self.messages_limit)
