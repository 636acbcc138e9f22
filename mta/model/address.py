"""Mail addresses (RFC 5321 §4.1.2, RFC 6531 §3.3). The null sender is ``None`` everywhere, never an Address."""
# SPDX-License-Identifier: Apache-2.0

import re
from dataclasses import dataclass

from mta.model.domain import normalise

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\x80-\U0010ffff]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e\x80-\U0010ffff]|\\[\x20-\x7e])*)"\Z')
_UNESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox address.

    local   the local part, unquoted, octet for octet as given (it is opaque; RFC 5321 §2.4); 1-64 octets in UTF-8
    domain  lower-case A-labels or an address literal; "" only for the bare ``postmaster`` of RFC 5321 §4.5.1
    """

    local: str
    domain: str

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Parse ``local@domain`` without brackets. Raises ValueError with a short reason that may be shown to a peer."""
        if text.startswith('"'):
            end = text.rfind('"@')
            local, domain = (text[: end + 1], text[end + 2 :]) if end > 0 else (text, "")
        else:
            local, _, domain = text.rpartition("@")
        if not local or not domain:
            raise ValueError("address must be local@domain")
        return cls(unquote(local), normalise(domain))

    @property
    def is_sound(self) -> bool:
        """False for what code made and nobody may write: control characters, a domain that is none. For addresses of plugins."""
        try:
            return Address.parse(str(self)) == self
        except (ValueError, TypeError, AttributeError):
            return False

    @property
    def is_ascii(self) -> bool:
        return self.local.isascii()

    def __str__(self) -> str:
        local = self.local if _DOT_STRING.match(self.local) else quote(self.local)
        return f"{local}@{self.domain}" if self.domain else local


def unquote(local: str) -> str:
    """Return the local part without its quoting. Raises ValueError when it is neither dot-string nor quoted string."""
    if _DOT_STRING.match(local):
        plain = local
    elif match := _QUOTED.match(local):
        plain = _UNESCAPE.sub(r"\1", match[1])
    else:
        raise ValueError("malformed local part")
    if not 0 < len(plain.encode("utf-8", "surrogatepass")) <= 64:  # RFC 5321 §4.5.3.1.1
        raise ValueError("local part must be 1 to 64 octets")
    return plain


def quote(local: str) -> str:
    """Return the local part as a quoted string."""
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
