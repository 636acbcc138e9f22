"""Connections to others: TCP or Unix socket, TLS contexts for clients (RFC 7435, RFC 8314, RFC 6125)."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

P = TypeVar("P", bound=asyncio.Protocol)


class Dialer:
    """Opens connections; makes each TLS context once, when it is first needed."""

    def __init__(self, verify_with: str | None = None) -> None:
        """``verify_with``: PEM file of further trusted certificates, beside the system's (or ``$SSL_CERT_FILE``)."""
        self._trusted = verify_with
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def context(self, *, verify: bool) -> ssl.SSLContext:
        """``verify`` False: opportunistic, better than cleartext and no more (RFC 7435 §3)."""
        if (known := self._contexts.get(verify)) is not None:
            return known
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context.hostname_checks_common_name = False  # RFC 9525 §6.3, RFC 8461 §4.2
            if self._trusted is not None:
                context.load_verify_locations(self._trusted)
        self._contexts[verify] = context
        return context

    async def connect(
        self,
        factory: Callable[[], P],
        *,
        timeout: float,
        address: str = "",
        port: int = 0,
        path: str = "",
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        source: str = "",
    ) -> P:
        """Connect to ``address`` and ``port``, or to the Unix socket ``path``. ``tls``: TLS from the first octet, for ``name``;
        ``source``: the address of ours to connect from.

        Raises OSError (ssl.SSLError is one) or TimeoutError.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout):
            if path:
                _, protocol = await loop.create_unix_connection(factory, path)
            else:
                _, protocol = await loop.create_connection(
                    factory,
                    address,
                    port,
                    ssl=tls,
                    server_hostname=name if tls is not None else None,
                    local_addr=(source, 0) if source else None,
                )
        return protocol
