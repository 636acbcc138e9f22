"""CAPA (RFC 2449 §5): what can be done now, which grows with TLS."""
# SPDX-License-Identifier: Apache-2.0

from mta.pop3d.session import Session


def capa(session: Session, _argument: bytes) -> bytes:
    lines = [
        "+OK capabilities follow",
        "TOP",
        "UIDL",
        "PIPELINING",
        "RESP-CODES",
        "AUTH-RESP-CODE",
        "EXPIRE NEVER",
        "UTF8 USER",
        "LANG",
    ]
    if session.maildrop is None:
        if session.secure and session.server.sasl.passwords:
            lines.append("USER")
        if mechanisms := session.server.sasl.offered(session.door):
            lines.append("SASL " + " ".join(mechanisms))
        if session.server.tls is not None and not session.tls:
            lines.append("STLS")
    lines += session.server.hooks.offering.advertised("pop3", logged_in=session.maildrop is not None)
    if hidden := session.out.listener_hides:
        lines = [line for line in lines if line.partition(" ")[0] not in hidden]
    lines.append(".\r\n")
    return "\r\n".join(lines).encode("ascii")
