"""SASL for SMTP, IMAP and POP3: which mechanisms a client is offered, and one driver for all of them (RFC 4422, RFC 4954 §4).

The protocols carry lines and know nothing of mechanisms; mechanisms see decoded octets and know nothing of lines. PLAIN, LOGIN and
EXTERNAL are ours, others come from plugins. Bounds: 12,288 octets in a response, ``_MOST_STEPS`` responses in one run.
"""
# SPDX-License-Identifier: Apache-2.0

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Protocol

from mta.config.sections import Auth
from mta.directory.external import External
from mta.directory.login import Attempt, Denied, Login, Refusal
from mta.model.directory import AuthOk, StoredKeys
from mta.net import tls
from mta.pluginhost.offers import OfferedMechanism, Offering
from mta.wire.sasl import Challenge, Identified, Outcome, Plain, SaslError, decode_base64, decode_initial
from mta.wire.sasl import Login as LoginMechanism
from mta_hooks.views import Session

_MOST_STEPS = 10
_PASSWORDS = frozenset({"PLAIN", "LOGIN"})


class Hooks(Protocol):
    @property
    def offering(self) -> Offering: ...


class NoMechanism(Exception):  # noqa: N818  # an answer, not an error
    """Not offered to this client. ``needs_tls``: it would be under TLS."""

    def __init__(self, needs_tls: bool) -> None:
        super().__init__("needs TLS" if needs_tls else "not known")
        self.needs_tls = needs_tls


@dataclass(frozen=True, slots=True)
class Door:
    """One connection as SASL sees it.

    secure   a password may be said: under TLS, or where the config allows it without
    tls      its TLS session
    mailbox  an account without one cannot log in
    note     told what plugins decided, for the trace
    """

    session: Session
    secure: bool
    tls: ssl.SSLObject | None = None
    mailbox: bool = True
    note: Callable[[Any], None] | None = None


class Sasl:
    """The mechanisms of one service of one worker. ``service`` is "smtp", "imap" or "pop3"."""

    def __init__(self, service: str, hooks: Hooks, login: Login, auth: Auth) -> None:
        self.service = service
        self.login = login
        self._hooks = hooks
        self._auth = auth

    @property
    def passwords(self) -> bool:
        """Passwords are taken at all: by IMAP's LOGIN and POP3's USER too, which are PLAIN in other words."""
        return not self._auth.mechanisms or not _PASSWORDS.isdisjoint(self._auth.mechanisms)

    def unknown(self) -> list[str]:
        """What the config names and nobody brings."""
        return [name for name in self._auth.mechanisms if name not in self._hooks.offering.mechanisms and self._own(name) is None]

    def offered(self, door: Door) -> tuple[str, ...]:
        """Names in the order to show: strong ones first, as the config has them."""
        return tuple(name for name in self._names() if self._obstacle(name, door) is None)

    def exchange(self, name: str, door: Door) -> "Exchange":
        """Begin a run. Raises NoMechanism."""
        if name not in self._names():
            raise NoMechanism(False)
        if (obstacle := self._obstacle(name, door)) is not None:
            raise NoMechanism(obstacle == "tls")
        attempt = Attempt(self.service, name, door.session, door.mailbox)
        if door.note is not None:
            attempt.note = door.note
        peer = Peer(self, door, attempt)
        own = self._own(name)
        run = own(peer) if own is not None else Brought(self._hooks.offering.mechanisms[name], peer)
        return Exchange(self.login, attempt, run)

    def _names(self) -> Sequence[str]:
        brought = self._hooks.offering.mechanisms
        if self._auth.mechanisms:
            return [name for name in self._auth.mechanisms if name in brought or self._own(name) is not None]
        old = ("LOGIN",) if self.service == "smtp" else ()  # submission has always had it: old clients know nothing else
        return [*(("EXTERNAL",) if self._auth.external else ()), *brought, "PLAIN", *old]

    def _own(self, name: str) -> Callable[["Peer"], Any] | None:
        if name == "PLAIN":
            return Plain
        if name == "LOGIN":
            return LoginMechanism
        if name == "EXTERNAL" and (place := self._auth.external) is not None:
            return lambda peer: External(peer.certificate, place)
        return None

    def _obstacle(self, name: str, door: Door) -> str | None:
        """Why this client cannot use it: "tls", or something that TLS alone does not mend."""
        if name == "EXTERNAL":
            return None if door.tls is not None and tls.client_certificate(door.tls) is not None else "certificate"
        if name in ("PLAIN", "LOGIN"):
            return None if door.secure else "tls"
        mechanism = self._hooks.offering.mechanisms[name].mechanism
        if mechanism.needs_tls and not door.secure:
            return "tls"
        return "binding" if getattr(mechanism, "channel_binding", False) and not self._binds(door) else None

    def _binds(self, door: Door) -> bool:
        """With tls-server-end-point alone, a client that wants tls-exporter (RFC 9266 has it for TLS 1.3) would choose the mechanism
        and fail."""
        kinds = tls.binding_kinds(door.tls)
        return bool(kinds) and (self._auth.end_point_binding or kinds != ("tls-server-end-point",))


class Peer:
    """Fulfils mta_hooks.sasl.SaslPeer."""

    def __init__(self, sasl: Sasl, door: Door, attempt: Attempt) -> None:
        self.service = sasl.service
        self.session = door.session
        self._sasl = sasl
        self._door = door
        self._attempt = attempt

    @property
    def mechanisms(self) -> Sequence[str]:
        return self._sasl.offered(self._door)

    @property
    def certificate(self) -> bytes | None:
        return None if self._door.tls is None else tls.client_certificate(self._door.tls)

    def channel_binding(self, kind: str) -> bytes | None:
        return None if self._door.tls is None else tls.channel_binding(self._door.tls, kind)

    async def keys(self, username: str) -> StoredKeys | None:
        return await self._sasl.login.keys(self._attempt, username)


class Brought:
    """One run of a plugin's mechanism, called as the plugin's: with its deadline, breaker and counters."""

    def __init__(self, offered: OfferedMechanism, peer: Peer) -> None:
        self.server_first = offered.mechanism.server_first
        self._offered = offered
        self._peer = peer
        self._run: Any = None

    async def step(self, response: bytes | None) -> Outcome | Denied:
        answer = await self._offered.call(run=self._advance, response=response)
        if isinstance(answer, SaslError):
            raise answer
        return answer  # type: ignore[no-any-return]  # checked below

    async def _advance(self, response: bytes | None, ctx: Any) -> Outcome | Denied | SaslError:
        """What is the client's doing, or another plugin's word, is no failure of this one."""
        try:
            if self._run is None:
                self._run = self._offered.mechanism(self._peer, ctx)
            answer = self._run.step(response)
            if isawaitable(answer):
                answer = await answer
        except SaslError as exc:
            return exc
        except Refusal as exc:
            return exc.denied
        if not isinstance(answer, Outcome):
            raise TypeError(f"step must answer Challenge, Credentials, Identified or Rejected, not {type(answer).__name__}")
        return answer


class Exchange:
    """One run of a mechanism with one client. Every method raises SaslError (501 5.5.2, BAD, -ERR) and TemporaryFailure (454 …)."""

    def __init__(self, login: Login, attempt: Attempt, run: Any) -> None:
        self._login = login
        self._attempt = attempt
        self._run = run
        self._proved: Identified | None = None
        self._steps = 0

    async def begin(self, initial: str | None) -> Challenge | AuthOk | Denied:
        """``initial``: the initial response as sent (base64, "=" is empty), or None (RFC 4954 §4, RFC 4959)."""
        if initial is None:
            return await self._take(None) if self._run.server_first else Challenge(b"")
        return await self._take(decode_initial(initial))

    async def answer(self, line: bytes) -> Challenge | AuthOk | Denied:
        """One line of the client without CRLF."""
        return await self._take(decode_base64(line))

    async def _take(self, response: bytes | None) -> Challenge | AuthOk | Denied:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise SaslError("too many steps")
        if (proved := self._proved) is not None:
            if response:
                raise SaslError("nothing more was expected")
            return await self._login.log_in(self._attempt, proved)
        outcome: Outcome | Denied = self._run.step(response)
        if isawaitable(outcome):
            outcome = await outcome
        if isinstance(outcome, Challenge):
            return outcome
        if isinstance(outcome, Denied):
            await self._login.tell(self._attempt, next(iter(self._attempt.asked), ""), outcome)
            return outcome
        if isinstance(outcome, Identified) and outcome.final:
            self._proved = outcome
            return Challenge(outcome.final)
        return await self._login.log_in(self._attempt, outcome)
