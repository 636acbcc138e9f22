"""MAIL and RCPT as the next hop can take them, or why it cannot (RFC 5321 §4.1.1, RFC 1870, RFC 3461 §4, RFC 6152, RFC 6531, RFC 8689,
RFC 2852, RFC 6710, RFC 9422)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.model.address import Address
from mta.model.delivery import Leased, QueuedMessage

Features = Mapping[str, str]
"""EHLO keywords in upper case, with their parameters."""


class Unsendable(Exception):
    """The hop cannot take this message, whatever is said to it. The text is a reply of ours, with code."""


def parse_features(lines: Sequence[str]) -> dict[str, str]:
    """Read the lines of an EHLO answer; the first is the greeting."""
    features: dict[str, str] = {}
    for line in lines[1:]:
        keyword, _, parameters = line.partition(" ")
        if "=" in keyword:  # "AUTH=LOGIN PLAIN" of servers from before RFC 2554
            keyword, _, parameters = line.partition("=")
        known = features.get(keyword.upper(), "")
        features[keyword.upper()] = f"{known} {parameters.strip()}".strip()
    return features


def requirements(message: QueuedMessage, recipients: Sequence[Leased], features: Features) -> tuple[bool, bool]:
    """(SMTPUTF8, 8BITMIME) that the message asks for and the hop does not offer: the octets decide. Raises Unsendable for the size."""
    limit = features.get("SIZE", "")
    if limit.isdecimal() and 0 < int(limit[:20]) < message.size - message.skip:
        raise Unsendable(
            f"552 5.3.4 message of {message.size - message.skip} octets is larger than the {limit} that the next hop takes"
        )
    addresses_ascii = all(one.address.is_ascii for one in recipients) and (message.sender is None or message.sender.is_ascii)
    if "SMTPUTF8" not in features and not addresses_ascii:
        raise Unsendable("553 5.6.7 the next hop does not take internationalised addresses")
    return message.smtputf8 and "SMTPUTF8" not in features, message.eightbit and "8BITMIME" not in features


def check_time(message: QueuedMessage, features: Features, now: float) -> None:
    """Who wants a message back rather than late gets it back from where nobody promises that (RFC 2852 §4.2). Raises Unsendable."""
    if message.deliver_by is None or not message.by_mode.startswith("R"):
        return
    least = features.get("DELIVERBY")
    if least is None:
        raise Unsendable("554 5.4.7 the next hop does not know the time that the sender gave (DELIVERBY)")
    if least.isdecimal() and message.deliver_by - now < int(least[:9]):
        raise Unsendable(f"554 5.4.7 the next hop needs {least[:9]} s, and less is left of the time that the sender gave")


def most_recipients(features: Features) -> int:
    """How many the hop takes in one transaction, as it says (RFC 9422 §4.3); 0: it does not say."""
    return _limit(features, "RCPTMAX")


def most_messages(features: Features) -> int:
    """Transactions in one session, likewise (RFC 9422 §4.2)."""
    return _limit(features, "MAILMAX")


def _limit(features: Features, name: str) -> int:
    for part in features.get("LIMITS", "").split():
        key, _, value = part.partition("=")
        if key.upper() == name and value.isascii() and value.isdigit() and len(value) <= 6:
            return int(value)
    return 0


def mail_command(message: QueuedMessage, recipients: Sequence[Leased], features: Features, now: float = 0.0) -> str:
    """MAIL with the parameters that the hop offers. ``now``: wall clock, for the time that is left (RFC 2852 §4)."""
    command = [f"MAIL FROM:<{message.sender or ''}>"]
    if "SIZE" in features:
        command.append(f"SIZE={message.size - message.skip}")
    if "SMTPUTF8" in features and needs_utf8(message, recipients):
        command.append("SMTPUTF8")
    if message.eightbit and "8BITMIME" in features:
        command.append("BODY=8BITMIME")
    if message.deliver_by is not None and "DELIVERBY" in features:
        command.append(f"BY={int(message.deliver_by - now)};{message.by_mode}")
    if message.requiretls and "REQUIRETLS" in features:
        command.append("REQUIRETLS")
    if message.priority and "MT-PRIORITY" in features:
        command.append(f"MT-PRIORITY={message.priority}")
    if "DSN" in features:
        if message.ret is not None:
            command.append(f"RET={message.ret}")
        if message.envid is not None:
            command.append(f"ENVID={message.envid}")
    return " ".join(command)


def needs_utf8(message: QueuedMessage, recipients: Sequence[Leased]) -> bool:
    addresses: list[Address | None] = [message.sender, *(one.address for one in recipients)]
    return message.smtputf8 or any(a is not None and not a.is_ascii for a in addresses)


def rcpt_command(recipient: Leased, features: Features) -> str:
    command = f"RCPT TO:<{recipient.address}>"
    if "DSN" in features:
        if recipient.notify:
            command += " NOTIFY=" + ",".join(sorted(recipient.notify))
        if recipient.orcpt is not None and (recipient.orcpt.isascii() or "SMTPUTF8" in features):
            command += f" ORCPT={recipient.orcpt}"
    return command
