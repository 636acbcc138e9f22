"""Our addresses to connect from, by who gets the mail and who sends it; a plugin's word and a route's come before."""
# SPDX-License-Identifier: Apache-2.0

from mta.config.sections import OutboundSection
from mta.dispatch.rules import Names
from mta.model.address import Address
from mta.route.by_sender import BySender


class Sources:
    """Config ``outbound.sources_by_domain``, then ``sources_by_sender``."""

    def __init__(self, section: OutboundSection) -> None:
        self._domains = Names(section.sources_by_domain)
        self._senders = BySender(section.sources_by_sender)

    def __bool__(self) -> bool:
        return bool(self._domains or self._senders)

    def find(self, domain: str, sender: Address | None) -> tuple[str, ...]:
        """(): as config ``outbound.source_addresses`` says."""
        return self._domains.find(domain) or self._senders.find(sender) or ()
