"""SASLprep (RFC 4013): one spelling for names and passwords that look alike. The tables are those of Unicode 3.2 (RFC 3454)."""
# SPDX-License-Identifier: Apache-2.0

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4, stringprep.in_table_c5,
    stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8, stringprep.in_table_c9,
)  # fmt: skip


def saslprep(text: str) -> str:
    """Raises ValueError for what may not stand in a name or password. Unassigned code points pass, as in a query (§2.5)."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(" " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c))
    out = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibited(c) for c in out for prohibited in _PROHIBITED):
        raise ValueError("a character that may not stand in a name or password")
    if any(stringprep.in_table_d1(c) for c in out):  # RFC 3454 §6
        if any(stringprep.in_table_d2(c) for c in out):
            raise ValueError("mixes right-to-left and left-to-right")
        if not (stringprep.in_table_d1(out[0]) and stringprep.in_table_d1(out[-1])):
            raise ValueError("right-to-left text must begin and end as such")
    return out
