"""The envelope as rspamd's HTTP headers. Peers choose many of these values: nothing in them may end a header or be no HTTP."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta_hooks import Address, Message, Recipient, Session

MAX_RECIPIENTS = 100
"""Those that rspamd is told; its rules look at how many, at most."""


def envelope(session: Session, message: Message, recipients: Sequence[Recipient], hostname: str) -> dict[str, str]:
    """A local part that is not ASCII has no form that rspamd reads: such an address is left out."""
    senders = ["<>"] if message.sender is None else _addresses([message.sender])
    told = _addresses([recipient.address for recipient in recipients[:MAX_RECIPIENTS]])
    found = {
        "Content-Type": "message/rfc822",
        "Queue-Id": message.id,
        "MTA-Name": hostname,
        "From": ", ".join(senders),
        "Rcpt": ", ".join(told),  # one header, for a mapping holds no more; rspamd reads the list
        "IP": session.client_ip.partition("%")[0],
        "Helo": session.helo,
        "User": session.user,
    }
    return {name: plain for name, value in found.items() if (plain := _printable(value))}


def _addresses(addresses: Sequence[Address]) -> list[str]:
    return [f"<{address}>" for address in addresses if address.is_ascii]


def _printable(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in value)
