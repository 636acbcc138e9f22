"""What hooks of the queue are shown of it."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.model.delivery import Leased, QueuedMessage
from mta_hooks.views import Envelope


def envelope_of(message: QueuedMessage, recipients: Sequence[Leased]) -> Envelope:
    """At least one recipient of this message."""
    return Envelope(
        id=message.id,
        sender=message.sender,
        recipients=tuple(one.address for one in recipients),
        origin=message.origin,
        received_at=message.received_at,
        attempts=max(one.attempts for one in recipients),
        user=message.user,
    )
