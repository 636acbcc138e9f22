"""Domain names in one spelling: lower case A-labels (RFC 5890), so that equality is string equality.

Names in Unicode are mapped as UTS #46 does without its transitional rules, then held to RFC 5891: "faß" is not "fass", and what
has no meaning in a name (joiners in odd places, symbols) is no name. Address literals have one spelling too (RFC 5321 §4.1.3).
"""
# SPDX-License-Identifier: Apache-2.0

import re
from ipaddress import IPv4Address, IPv6Address

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_GENERAL = re.compile(r"[a-z0-9-]*[a-z0-9]:[a-z0-9#$&'*+./:=?^_`{|}~-]{1,200}\Z")
"""RFC 5321 allows more; those characters mean something to whoever reads an address carelessly, and nobody uses them."""


def normalise(name: str) -> str:
    """Return the domain in lower-case A-labels; an address literal in lower case, its address in the usual spelling.

    Raises ValueError with a short reason for what is no domain (RFC 1035 §2.3.4, RFC 5321 §4.1.2): the caller answers
    501 5.1.3 or names the config key.
    """
    if name.isascii():
        lowered = name.lower()
    else:
        lowered = _a_labels(name)
    if lowered.startswith("["):
        return _literal(lowered)
    if lowered.endswith("."):
        raise ValueError("trailing dot")
    if not 0 < len(lowered) <= 253:
        raise ValueError("length must be 1 to 253")
    if not all(_LABEL.match(label) for label in lowered.split(".")):
        raise ValueError("malformed label")
    return lowered


def _a_labels(name: str) -> str:
    import idna  # large tables, which most processes never need

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as exc:
        raise ValueError("not an internationalised domain name") from exc


def _literal(lowered: str) -> str:
    """IPv4, IPv6 with its tag, or another tag and something (RFC 5321 §4.1.3)."""
    inner = lowered[1:-1]
    try:
        if not lowered.endswith("]"):
            raise ValueError
        if inner.startswith("ipv6:"):
            if "%" in inner:
                raise ValueError
            return f"[ipv6:{IPv6Address(inner[5:])}]"
        if ":" not in inner:
            return f"[{IPv4Address(inner)}]"
    except ValueError:
        raise ValueError("malformed address literal") from None
    if not _GENERAL.match(inner):
        raise ValueError("malformed address literal")
    return lowered
