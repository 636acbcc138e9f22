"""Reverse and forward paths (RFC 5321 §4.1.2): ``<@relay,@relay:local@domain>``.

Source routes are read and dropped (§3.3, appendix C). Local parts may be quoted, domains may be address literals; the local
part is opaque and never read again. ``<postmaster>`` without a domain is a recipient (§4.5.1). The brackets are required.
"""
# SPDX-License-Identifier: Apache-2.0

import re

from mta.model.address import Address
from mta.model.errors import Refused
from mta.model.reply import Reply

MAX_PATH = 256  # octets with the brackets, RFC 5321 §4.5.3.1.3

_AT_DOMAIN = r"@[A-Za-z0-9.\-\[\]:\x80-\U0010ffff]+"
_PATH = re.compile(rf'<(?:{_AT_DOMAIN}(?:,{_AT_DOMAIN})*:)?((?:"(?>(?:[^"\\]|\\.)*)"|[^"<>@ ]++)@[^<>@ ]++)>')


def parse_path(text: str, *, null: bool) -> tuple[Address | None, str]:
    """Return the address (None: the null sender ``<>``, when ``null``) and the text behind the path.

    Raises Refused: 501 5.5.4 for what is no path, 501 5.1.7 or 5.1.3 for a sender or recipient that is no address.
    """
    enhanced = "5.1.7" if null else "5.1.3"
    if (match := _PATH.match(text)) is None:
        if null and text.startswith("<>"):
            return None, text[2:]
        if not null and text[:12].lower() == "<postmaster>":
            return Address(text[1:11], ""), text[12:]
        if not text.startswith("<"):
            raise Refused(Reply(501, "5.5.4", "the address must be in <>"))
        raise Refused(Reply(501, enhanced, "malformed address"))
    end = match.end()
    if end > MAX_PATH and end - match.start(1) > MAX_PATH:
        raise Refused(Reply(501, enhanced, "address too long"))
    try:
        return Address.parse(match[1]), text[end:]
    except ValueError as exc:
        raise Refused(Reply(501, enhanced, f"malformed address: {exc}")) from None
