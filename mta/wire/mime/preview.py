"""The first words of a message, as a list of messages shows them (RFC 8970 §3.1): of its first text that has any, decoded, without markup."""
# SPDX-License-Identifier: Apache-2.0

import re
from html import unescape

from mta.wire.mime.entity import Entity
from mta.wire.mime.text import text

LONGEST = 200
"""Characters: what RFC 8970 §3.1 recommends, and below its limit of 256."""
_LOOKED_AT = 16 * 1024
"""Octets of one part."""
_MOST_PARTS = 10
_UNSEEN = re.compile(r"(?is)<!--.*?(?:-->|\Z)|<(script|style|head|title)\b.*?(?:</\1\s*>|\Z)")
_TAG = re.compile(r"<[A-Za-z/!?][^>]*(?:>|\Z)")
_QUOTED = re.compile(r"(?m)^[ \t]*>.*$")
_SIGNATURE = re.compile(r"(?ms)^-- ?\r?$.*")
_UNPRINTABLE = re.compile(
    r"[\x00-\x20\x7f-\xa0\u00ad\u034f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]+"
)


def preview(root: Entity, octets: bytes) -> str:
    """At most ``LONGEST`` characters on one line; "" when there is nothing to read."""
    left = _MOST_PARTS
    for part in root.walk():
        if part.message is not None:
            break  # what was said in a message that came along says little about this one
        if part.maintype != "text" or (part.disposition or ("",))[0] == "attachment":
            continue
        left -= 1
        words = _words(part, octets)
        if words or not left:
            return words
    return ""


def _words(part: Entity, octets: bytes) -> str:
    content = "".join(text(part, octets, _LOOKED_AT))
    if part.subtype == "html":
        content = unescape(_TAG.sub(" ", _UNSEEN.sub(" ", content)))
    else:
        content = _QUOTED.sub("", _SIGNATURE.sub("", content)) if part.subtype == "plain" else content
    return _UNPRINTABLE.sub(" ", content).strip()[:LONGEST].rstrip()
