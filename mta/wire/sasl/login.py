"""LOGIN: name and password in two responses. Never standardised (draft-murchison-sasl-login), spoken by every old client."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.sasl.exchange import Challenge, Credentials, SaslError, decode_base64, decode_initial, text

_USERNAME = Challenge(b"Username:")
_PASSWORD = Challenge(b"Password:")


class LoginExchange:
    """The name may come with the command."""

    __slots__ = ("_username",)

    def __init__(self) -> None:
        self._username: str | None = None

    def begin(self, initial: str | None) -> Challenge | Credentials:
        return _USERNAME if initial is None else self._take(decode_initial(initial))

    def step(self, line: bytes) -> Challenge | Credentials:
        return self._take(decode_base64(line))

    def _take(self, octets: bytes) -> Challenge | Credentials:
        if not octets:
            raise SaslError("empty name or password")
        if self._username is None:
            self._username = text(octets)
            return _PASSWORD
        return Credentials(self._username, text(octets))
