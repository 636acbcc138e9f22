"""PLAIN (RFC 4616): ``authzid NUL authcid NUL password`` in one response."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.sasl.exchange import Credentials, SaslError, text


class Plain:
    """One response, with the command or after an empty challenge."""

    name = "PLAIN"
    needs_tls = True
    server_first = False

    __slots__ = ()

    def __init__(self, *_services: object) -> None:
        """Needs none."""

    def step(self, response: bytes | None) -> Credentials:
        parts = (response or b"").split(b"\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            raise SaslError("malformed PLAIN response")
        return Credentials(text(parts[1]), text(parts[2]), text(parts[0]))
