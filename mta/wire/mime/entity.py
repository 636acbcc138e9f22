"""One MIME entity as offsets and raw field values (RFC 2045 §2.4): what the parser makes and everything else reads.

It holds no octets of the message: an index of a 50 MB message is a few kilobytes, and may be kept while the octets are not.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from dataclasses import dataclass, field

from mta.wire.mime import headers
from mta.wire.mime.parameters import Pairs, decoded, split_value


@dataclass(slots=True, eq=False)
class Entity:
    """A message or body part; built by ``parse``, read-only for everyone else.

    header_start, body_start, end  offsets; the header section is ``[header_start, body_start)`` with its blank line, the body
                      ``[body_start, end)`` without the line end that belongs to the next boundary (RFC 2046 §5.1.1)
    maintype, subtype  in lower case, and what the parser made of them: a multipart always has children, a message/rfc822
                      or message/global always has ``message``; one that cannot be taken apart is text/plain (no boundary
                      found) or application/octet-stream (beyond the bounds, or encoded); ``opaque`` is then True
    raw               the first value of each Content-* field, unfolded octets, keyed by lower-case name
    lines             line ends in the body, for text and messages; 0 for others
    """

    header_start: int
    body_start: int = 0
    end: int = 0
    maintype: str = "text"
    subtype: str = "plain"
    lines: int = 0
    opaque: bool = False
    raw: dict[bytes, bytes] = field(default_factory=dict)
    children: list["Entity"] = field(default_factory=list)
    message: "Entity | None" = None

    @property
    def content_type(self) -> str:
        return f"{self.maintype}/{self.subtype}"

    @property
    def body_size(self) -> int:
        return self.end - self.body_start

    @property
    def raw_parameters(self) -> Pairs:
        """Content-Type parameters as written: (lower-case name, unquoted value), in order, RFC 2231 forms untouched."""
        value = self.raw.get(b"content-type")
        return split_value(value)[1] if value else []

    @property
    def parameters(self) -> dict[str, str]:
        """Content-Type parameters decoded (RFC 2231, RFC 2047)."""
        return decoded(self.raw_parameters)

    @property
    def encoding(self) -> str:
        """Content-Transfer-Encoding in lower case; "7bit" when absent (RFC 2045 §6.1)."""
        value = self.raw.get(b"content-transfer-encoding", b"")
        return split_value(value)[0].decode("latin-1") or "7bit"

    @property
    def disposition(self) -> tuple[str, Pairs] | None:
        """Content-Disposition: value in lower case and raw parameters (RFC 2183); None when absent."""
        value = self.raw.get(b"content-disposition")
        if not value:
            return None
        kind, pairs = split_value(value)
        return kind.decode("latin-1"), pairs

    @property
    def filename(self) -> str:
        """The name the sender gave the part, decoded, or "". Never a path to use: the reader's business."""
        disposition = self.disposition
        named = decoded(disposition[1]).get("filename", "") if disposition else ""
        return named or self.parameters.get("name", "")

    @property
    def content_id(self) -> bytes | None:
        return self.raw.get(b"content-id")

    @property
    def description(self) -> bytes | None:
        return self.raw.get(b"content-description")

    @property
    def location(self) -> bytes | None:
        value = self.raw.get(b"content-location")
        return b"".join(value.split()) if value is not None else None

    @property
    def md5(self) -> bytes | None:
        return self.raw.get(b"content-md5")

    @property
    def language(self) -> tuple[bytes, ...]:
        """Content-Language tags (RFC 3282)."""
        return tuple(tag for tag in self.raw.get(b"content-language", b"").replace(b",", b" ").split() if tag)

    def fields(self, octets: bytes) -> Iterator[headers.Field]:
        """Yield the header fields with offsets into ``octets``, the whole message."""
        return headers.fields(octets, self.header_start, self.body_start)

    def walk(self) -> Iterator["Entity"]:
        """Yield this entity and all inside it, in order, without recursion."""
        stack = [self]
        while stack:
            entity = stack.pop()
            yield entity
            if entity.message is not None:
                stack.append(entity.message)
            stack.extend(reversed(entity.children))
