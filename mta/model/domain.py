"""Domain names in one spelling: lower case A-labels (RFC 5890), so that equality is string equality."""
# SPDX-License-Identifier: Apache-2.0

import re

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_LITERAL = re.compile(r"\[[A-Za-z0-9:.\-]{1,80}\]\Z")


def normalise(name: str) -> str:
    """Return the domain in lower-case A-labels; an address literal is returned as given, in lower case.

    Raises ValueError with a short reason for what is no domain (RFC 1035 §2.3.4, RFC 5321 §4.1.2): the caller answers
    501 5.1.3 or names the config key.
    """
    if name.isascii():
        lowered = name.lower()
    else:
        try:
            lowered = name.encode("idna").decode("ascii").lower()
        except UnicodeError as exc:
            raise ValueError("not an internationalised domain name") from exc
    if lowered.startswith("["):
        if not _LITERAL.match(lowered):
            raise ValueError("malformed address literal")
        return lowered
    if lowered.endswith("."):
        raise ValueError("trailing dot")
    if not 0 < len(lowered) <= 253:
        raise ValueError("length must be 1 to 253")
    if not all(_LABEL.match(label) for label in lowered.split(".")):
        raise ValueError("malformed label")
    return lowered
