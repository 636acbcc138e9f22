"""TLS with a next hop as its policy asks (RFC 3207, RFC 7435, RFC 7672, RFC 8461, RFC 8689), and what failed in the words of RFC 8460 §4.3."""
# SPDX-License-Identifier: Apache-2.0

import datetime
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from mta.model.errors import TemporaryFailure
from mta.model.tls import TlsPolicy
from mta.net.dialer import Dialer
from mta.outbound.dane import verify_chain
from mta.outbound.hosts import Destination, Host
from mta.outbound.link import LinkLost
from mta.outbound.session import Refusal, Session, Unfit
from mta_hooks.services import Dns, DnsError

_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_UNTRUSTED = (18, 19, 20, 21)  # self-signed, or no issuer that we know


class First(Protocol):
    async def first(self, **arguments: Any) -> Any: ...


class TlsFailed(LinkLost):
    """TLS is not what the policy asks for. ``failure``: a result type of RFC 8460 §4.3; ``published``: the policy is the domain's own."""

    def __init__(self, failure: str, text: str, *, published: bool = False) -> None:
        super().__init__(text)
        self.failure = failure
        self.published = published


def configured(policies: Mapping[str, str], destination: Destination) -> TlsPolicy | None:
    """What config ``tls_policies`` says of a domain, or of the host that a route names; "*" is of all domains."""
    if destination.uses_mx:
        level = policies.get(destination.domain) or policies.get("*")
    else:
        level = policies.get(destination.route.host or "")
    return None if level is None else TlsPolicy(level)  # type: ignore[arg-type]


def demand_dane(answer: TlsPolicy | None) -> TlsPolicy:
    """The operator wants DANE: nothing else will do, nor its absence."""
    if answer is not None and answer.source == "tlsa":
        return answer
    return TlsPolicy(
        "dane", problem="DANE is required, and the host has no signed TLSA records", failure="dane-required", source="tlsa"
    )


async def choose_policy(plan: First | None, policies: Mapping[str, str], destination: Destination, host: Host) -> TlsPolicy:
    """What the sender, the route, the operator's table and the plugins say, in this order. Raises Refusal when it is not known."""
    if destination.relaxed:
        return TlsPolicy("may")
    policy = await _chosen(plan, policies, destination, host)
    if not destination.requiretls or host.path or policy.level in ("encrypt", "dane"):
        return policy
    return TlsPolicy("encrypt", problem=policy.problem, failure=policy.failure, source=policy.source)


async def _chosen(plan: First | None, policies: Mapping[str, str], destination: Destination, host: Host) -> TlsPolicy:
    route = destination.route
    given = configured(policies, destination)
    wanted = TlsPolicy("encrypt" if route.tls == "implicit" else route.tls)
    if wanted.level == "encrypt" or not destination.uses_mx:
        return given if given is not None and route.tls == "may" else wanted
    if given is not None and given.level != "dane":
        return given
    answer: str | TlsPolicy | None = None
    if plan is not None:
        try:
            answer = await plan.first(domain=destination.domain, mx=host.name)
        except TemporaryFailure as exc:
            raise Refusal(f"the TLS policy for {host.name} is not known for now") from exc
    policy = TlsPolicy(answer) if isinstance(answer, str) else answer  # type: ignore[arg-type]
    return demand_dane(policy) if given is not None else policy or wanted


async def demand_promise(dns: Dns, destination: Destination, session: Session, host: Host, policy: TlsPolicy) -> None:
    """RFC 8689 §4.2.1: the host is truly the domain's, proved to be itself, and promises the same. Raises Unfit, Refusal."""
    if destination.uses_mx and not policy.source:
        try:
            secure = (await dns.validated(destination.domain, "MX")).secure
        except DnsError as exc:
            raise Refusal(f"DNS does not say whether the MX of {destination} are signed") from exc
        if not secure:
            raise Unfit(f"550 5.7.30 REQUIRETLS: neither DNSSEC nor MTA-STS vouches for the mail servers of {destination}")
    if not (session.verified or host.path):
        raise Refusal("REQUIRETLS needs a verified connection")
    if "REQUIRETLS" not in session.features:
        raise Unfit(f"550 5.7.30 REQUIRETLS: {host.name} does not support it")


async def start_tls(session: Session, dialer: Dialer, host: Host, policy: TlsPolicy) -> None:
    """Raises TlsFailed. With level "may" the session may stay in clear."""
    offered = "STARTTLS" in session.features
    if offered:
        name = policy.name or host.name

        def check(chain: Sequence[bytes]) -> None:
            problem = verify_chain(chain, policy.tlsa, (name, *policy.names), datetime.datetime.now(datetime.UTC))
            if problem is not None:
                raise TlsFailed(*problem)

        try:
            context = dialer.context(verify=policy.level == "encrypt")
            if await session.start_tls(context, name, check if policy.level == "dane" else None):
                session.verified = policy.level in ("encrypt", "dane")
                return
        except TlsFailed:
            raise
        except LinkLost as exc:
            raise TlsFailed(_failure_of(exc.__cause__), str(exc)) from exc
    if policy.level != "may":
        text = "the next hop refuses TLS" if offered else "the next hop does not offer TLS"
        raise TlsFailed("starttls-not-supported", text)


def weaker(policy: TlsPolicy) -> TlsPolicy | None:
    """What may be tried after a failure; None: nothing."""
    if policy.testing:
        return replace(policy, level="may", problem="", testing=False)
    return TlsPolicy("none") if policy.level == "may" else None


def _failure_of(cause: BaseException | None) -> str:
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return "validation-failure"
    if cause.verify_code in _EXPIRED:
        return "certificate-expired"
    if cause.verify_code in _OTHER_NAME:
        return "certificate-host-mismatch"
    return "certificate-not-trusted" if cause.verify_code in _UNTRUSTED else "validation-failure"
