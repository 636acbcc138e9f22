"""PLAIN (RFC 4616): ``authzid NUL authcid NUL password`` in one response."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.sasl.exchange import Challenge, Credentials, SaslError, decode_base64, decode_initial, text


class PlainExchange:
    """One response, with the command or after an empty challenge."""

    __slots__ = ()

    def begin(self, initial: str | None) -> Challenge | Credentials:
        return Challenge(b"") if initial is None else self._read(decode_initial(initial))

    def step(self, line: bytes) -> Challenge | Credentials:
        return self._read(decode_base64(line))

    def _read(self, octets: bytes) -> Credentials:
        parts = octets.split(b"\0")
        if len(parts) != 3 or not parts[1] or not parts[2]:
            raise SaslError("malformed PLAIN response")
        return Credentials(text(parts[1]), text(parts[2]), text(parts[0]))
