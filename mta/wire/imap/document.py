"""A message as the search index takes it: what SEARCH compares, what SORT and THREAD look at. A few hundred microseconds for each."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.ids import BlobId
from mta.model.search import FIELDS, Document
from mta.wire.imap.sort_keys import sort_keys
from mta.wire.mime import Entity, header_end, parse
from mta.wire.mime.searchable import ADDRESSED, field_pattern, field_values, header_lines, readable_parts, readable_size

MAX_TEXT = 256 * 1024
"""Characters of one message that are indexed, and octets of its header. A longer one is read whenever it may match."""
_MAX_DECODED = 2**20
"""Octets of one message that are decoded: no step takes longer than some 10 ms."""
_MAX_FIELD = 8192
_PATTERNS = tuple((field_pattern(name), name in ADDRESSED) for name in FIELDS)


def make_document(blob: BlobId, octets: bytes, root: Entity | None = None, *, whole: bool = True) -> Document:
    """Nothing that ``mta.imapd.search_text`` can find is missing, unless ``complete`` is False. ``whole``: these are all octets.

    ``root``: their structure, when it is known.
    """
    end = header_end(octets)
    cut = end > MAX_TEXT
    whole = whole and not cut
    end = min(end, MAX_TEXT)
    lines = header_lines(octets, end)
    fields: list[str | None] = []
    for pattern, addressed in _PATTERNS:
        value = "\n".join(field_values(pattern, octets, end, addressed=addressed))
        fields.append(None if cut or len(value) > _MAX_FIELD else value)
        lines.append(value)  # as a rule in a line above; a repeated trigram costs nothing
    size = sum(map(len, lines))
    root = root or parse(octets)
    whole = whole and readable_size(root) <= _MAX_DECODED
    for part in readable_parts(root, octets, _MAX_DECODED):
        if size > MAX_TEXT:
            break
        lines.append(part)
        size += len(part)
    text = "\n".join(lines)
    return Document(blob, tuple(fields), text[:MAX_TEXT], whole and len(text) <= MAX_TEXT, sort_keys(octets, end).encode())
