"""LOGIN: name and password in two responses. Never standardised (draft-murchison-sasl-login), spoken by every old client."""
# SPDX-License-Identifier: Apache-2.0

from mta.wire.sasl.exchange import Challenge, Credentials, SaslError, text

_USERNAME = Challenge(b"Username:")
_PASSWORD = Challenge(b"Password:")


class Login:
    """The name may come with the command."""

    name = "LOGIN"
    needs_tls = True
    server_first = True

    __slots__ = ("_username",)

    def __init__(self, *_services: object) -> None:
        self._username: str | None = None

    def step(self, response: bytes | None) -> Challenge | Credentials:
        """``None``: nothing was said yet."""
        if response is None:
            return _USERNAME
        if not response:
            raise SaslError("empty name or password")
        if self._username is None:
            self._username = text(response)
            return _PASSWORD
        return Credentials(self._username, text(response))
