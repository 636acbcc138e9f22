"""A message as the search index takes it: what SEARCH compares, what SORT and THREAD look at. A few hundred microseconds for each."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.ids import BlobId
from mta.model.search import FIELDS, Document
from mta.wire.imap.sort_keys import sort_keys
from mta.wire.mime import header_end, parse
from mta.wire.mime.searchable import field_pattern, field_values, header_lines, readable_parts

MAX_TEXT = 256 * 1024
"""Characters of one message that are indexed. A longer one is read whenever it may match."""
_MAX_FIELD = 8192
_PATTERNS = tuple(map(field_pattern, FIELDS))


def make_document(blob: BlobId, octets: bytes, *, whole: bool = True) -> Document:
    """Nothing that ``mta.imapd.search_text`` can find is missing, unless ``complete`` is False. ``whole``: these are all octets."""
    end = header_end(octets)
    lines = header_lines(octets, end)
    fields: list[str | None] = []
    for pattern in _PATTERNS:
        value = "\n".join(field_values(pattern, octets, end))
        fields.append(value if len(value) <= _MAX_FIELD else None)
        lines.append(value)  # as a rule in a line above; a repeated trigram costs nothing
    size = sum(map(len, lines))
    for part in readable_parts(parse(octets), octets):
        if size > MAX_TEXT:
            break
        lines.append(part)
        size += len(part)
    text = "\n".join(lines)
    return Document(blob, tuple(fields), text[:MAX_TEXT], whole and len(text) <= MAX_TEXT, sort_keys(octets, end).encode())
