"""Character sets by the names that mail uses (RFC 2978), decoded leniently.

A finite table made from Python's own aliases: a peer's name never reaches the codec search, which imports modules and
remembers every unknown name for ever. Codecs that are no character sets or take quadratic time (idna, punycode) are out.
"""
# SPDX-License-Identifier: Apache-2.0

import re
from encodings.aliases import aliases

_NOT_MAIL = frozenset(
    {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "uu_codec", "zlib_codec", "rot_13", "mbcs", "oem", "idna"}
    | {"punycode", "unicode_escape", "raw_unicode_escape", "undefined"}
)
_SEPARATOR = re.compile(r"[^a-z0-9]+")


def _key(name: str) -> str:
    return _SEPARATOR.sub("", name.lower())


def _table() -> dict[str, str]:
    table = {_key(name): codec for codec in aliases.values() if codec not in _NOT_MAIL for name in (codec,)}
    table |= {_key(alias): codec for alias, codec in aliases.items() if codec not in _NOT_MAIL}
    table |= {_key(f"x-{alias}"): codec for alias, codec in aliases.items() if codec not in _NOT_MAIL and "mac" in alias}
    # Supersets under the old name, as every reader does: the older set alone loses characters that senders use.
    table |= {"gb2312": "gb18030", "gbk": "gb18030", "ksc56011987": "cp949", "euckr": "cp949", "shiftjis": "cp932"}
    table |= {"usascii": "utf_8", "ascii": "utf_8", "iso88591": "cp1252", "unicode11utf7": "utf_7", "xsjis": "cp932"}
    return table


_CODECS = _table()


def decode(octets: bytes, charset: str) -> str:
    """Return the text. An unknown charset is read as UTF-8; octets that do not fit become U+FFFD."""
    codec = _CODECS.get(_key(charset[:40]), "utf_8")
    try:
        return octets.decode(codec, "replace")
    except (UnicodeError, ValueError):  # a stateful codec may refuse although asked to replace
        return octets.decode("latin-1")


def codec(charset: str) -> str | None:
    """Python's name of a character set that mail uses."""
    return _CODECS.get(_key(charset[:40]))


def known(charset: str) -> bool:
    return _key(charset[:40]) in _CODECS
