"""The author's domain (RFC 5322 §3.6.2), as DMARC too would see it: one From field with one domain, or none."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta.model.domain import normalise
from mta.wire.mime import addresses


def author_domain(values: Sequence[str]) -> str:
    """Return the domain of all authors in lower-case A-labels, or "" when there is not exactly one."""
    if len(values) != 1:
        return ""
    hosts = {entry.host for entry in addresses(values[0].encode("utf-8", "surrogateescape")) if entry.host is not None}
    if len(hosts) != 1:
        return ""
    try:
        return normalise(hosts.pop().decode("utf-8"))
    except ValueError:
        return ""
