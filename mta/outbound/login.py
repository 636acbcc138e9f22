"""Logging in at a next hop (RFC 4954): SCRAM-SHA-256, PLAIN, LOGIN, or an OAuth token by XOAUTH2 or OAUTHBEARER (RFC 7628).

The strongest that is offered; a server that fails at proving that it knows the password (RFC 5802 §5) is not trusted with it by a
weaker one. What is wrong is told without what was sent.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path

from mta.model.delivery import Route
from mta.outbound.answer import Answer
from mta.outbound.session import Refusal
from mta.wire.sasl.exchange import SaslError
from mta.wire.sasl.scramclient import ScramClient

MAX_TOKEN = 16_384

Ask = Callable[[str], Awaitable[Answer]]
"""Send a line, get the reply."""


async def log_in(ask: Ask, offered: frozenset[str], route: Route) -> None:
    """Raises Refusal, and LinkLost as ``ask`` does."""
    assert route.credentials is not None
    name, password = route.credentials
    if route.token_file:
        answer = await _token(ask, offered, name, await _read_token(route.token_file), route)
    elif "SCRAM-SHA-256" in offered:
        answer = await _scram(ask, name, password)
    elif "PLAIN" in offered:
        answer = await ask("AUTH PLAIN " + _base64(f"\0{name}\0{password}"))
    elif "LOGIN" in offered:
        answer = await ask("AUTH LOGIN")
        for secret in (name, password):
            if answer.code == 334:
                answer = await ask(_base64(secret))
    else:
        raise Refusal("the next hop offers none of AUTH SCRAM-SHA-256, PLAIN and LOGIN")
    if not answer.positive:
        raise Refusal(answer)


async def _scram(ask: Ask, name: str, password: str) -> Answer:
    try:
        client = ScramClient(name, password, secrets.token_urlsafe(18))
        answer = await ask("AUTH SCRAM-SHA-256 " + base64.b64encode(client.first).decode("ascii"))
        if answer.code != 334:
            return answer
        proof = await asyncio.to_thread(client.proof, _challenge(answer))
        answer = await ask(base64.b64encode(proof).decode("ascii"))
        if answer.code == 334:
            if not client.verify(_challenge(answer)):
                raise SaslError("it does not know the password itself")
            return await ask("")
        if answer.positive:
            raise SaslError("it did not prove that it knows the password")
    except (SaslError, ValueError) as exc:
        raise Refusal(f"AUTH SCRAM-SHA-256 with the next hop failed: {exc}") from exc
    return answer


async def _token(ask: Ask, offered: frozenset[str], name: str, token: str, route: Route) -> Answer:
    if "XOAUTH2" in offered:
        answer = await ask("AUTH XOAUTH2 " + _base64(f"user={name}\x01auth=Bearer {token}\x01\x01"))
        end = ""
    elif "OAUTHBEARER" in offered:
        escaped = name.replace("=", "=3D").replace(",", "=2C")
        text = f"n,a={escaped},\x01host={route.host}\x01port={route.port}\x01auth=Bearer {token}\x01\x01"
        answer = await ask("AUTH OAUTHBEARER " + _base64(text))
        end = "AQ=="  # RFC 7628 §3.2.3: the failure is told after this
    else:
        raise Refusal("the next hop offers neither AUTH XOAUTH2 nor OAUTHBEARER")
    return await ask(end) if answer.code == 334 else answer


async def _read_token(path: str) -> str:
    def read() -> str:
        with Path(path).open("rb") as file:
            return file.read(MAX_TOKEN).decode("ascii").strip()

    try:
        token = await asyncio.to_thread(read)
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not ASCII"
        raise Refusal(f"the token for the next hop cannot be read: {reason}") from exc
    if not token or not token.isprintable() or " " in token:
        raise Refusal("the file for the next hop holds no token")
    return token


def _challenge(answer: Answer) -> bytes:
    try:
        return base64.b64decode(answer.lines[0], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise SaslError("no challenge in base64") from exc


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
