"""TLS with a next hop as its policy asks (RFC 3207, RFC 7435, RFC 7672, RFC 8461), and what failed in the words of RFC 8460 §4.3."""
# SPDX-License-Identifier: Apache-2.0

import datetime
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mta.model.tls import TlsPolicy
from mta.net.dialer import Dialer
from mta.outbound.dane import verify_chain
from mta.outbound.hosts import Destination, Host
from mta.outbound.link import LinkLost
from mta.outbound.session import Session

_EXPIRED = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED
_OTHER_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_UNTRUSTED = (18, 19, 20, 21)  # self-signed, or no issuer that we know


class TlsFailed(LinkLost):
    """TLS is not what the policy asks for. ``failure``: a result type of RFC 8460 §4.3."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure


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
