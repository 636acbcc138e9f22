"""The parts of a message as ``mime_part`` sees them (mta_hooks.views.Part): decoded when somebody looks."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator

from mta.wire.mime import Entity, body
from mta.wire.mime.charsets import decode


class MailPart:
    __slots__ = ("_entity", "_message", "_octets", "path")

    def __init__(self, message: bytes, entity: Entity, path: str) -> None:
        self.path = path
        self._message = message
        self._entity = entity
        self._octets: bytes | None = None

    @property
    def content_type(self) -> str:
        return self._entity.content_type

    @property
    def filename(self) -> str:
        return self._entity.filename

    @property
    def disposition(self) -> str:
        disposition = self._entity.disposition
        return disposition[0] if disposition is not None else ""

    @property
    def size(self) -> int:
        return self._entity.body_size

    @property
    def octets(self) -> bytes:
        if self._octets is None:
            self._octets = body(self._entity, self._message)
        return self._octets

    @property
    def charset(self) -> str:
        return self._entity.parameters.get("charset", "utf-8")

    @property
    def text(self) -> str:
        return decode(self.octets, self.charset)


def parts_of(root: Entity, message: bytes) -> Iterator[MailPart]:
    """Yield the leaves and the messages inside, in order, numbered as in RFC 9051 §6.4.5.1."""
    stack: list[tuple[Entity, str, bool]] = [(root, "", True)]
    while stack:
        entity, path, is_message = stack.pop()
        below = f"{path}." if path else ""
        if entity.children:
            numbered = [(child, f"{below}{number}", False) for number, child in enumerate(entity.children, 1)]
            stack.extend(reversed(numbered))
            continue
        own = f"{below}1" if is_message else path
        if entity.message is not None:
            stack.append((entity.message, own, True))
        yield MailPart(message, entity, own)
