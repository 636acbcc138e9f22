"""``Search`` in memory: the plainest thing that keeps the contract."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence
from dataclasses import dataclass, field

from mta.model.ids import BlobId
from mta.model.search import FIELDS, Document, Found


@dataclass
class SearchData:
    """What outlives a restart."""

    position: int = 0
    documents: dict[int, Document] = field(default_factory=dict)
    unheld: set[int] = field(default_factory=set)


class MemorySearch:
    def __init__(self, data: SearchData | None = None) -> None:
        self.data = data or SearchData()

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def position(self) -> int:
        return self.data.position

    async def index(self, documents: Sequence[Document], *, after: int, upto: int, unheld: Sequence[BlobId] = ()) -> bool:
        if self.data.position != after:
            return False
        self.data.position = upto
        await self.add(documents)
        self.data.unheld.update(unheld)
        return True

    async def add(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self.data.documents[document.blob] = document
            self.data.unheld.discard(document.blob)

    async def known(self, after: int, limit: int) -> list[BlobId]:
        return [BlobId(blob) for blob in sorted({*self.data.documents, *self.data.unheld}) if blob > after][:limit]

    async def unheld(self, after: int, limit: int) -> list[BlobId]:
        return [BlobId(blob) for blob in sorted(self.data.unheld) if blob > after][:limit]

    async def forget(self, blobs: Sequence[BlobId]) -> None:
        for blob in blobs:
            self.data.documents.pop(blob, None)
            self.data.unheld.discard(blob)

    async def clear(self) -> None:
        self.data.position = 0
        self.data.documents.clear()
        self.data.unheld.clear()

    async def candidates(self, text: str, among: Sequence[int]) -> Found | None:
        if len(text) < 3:
            return None
        documents = self.data.documents.values()
        found = {d.blob for d in documents if not d.complete or text in d.text}
        return Found(self.data.position, frozenset(), found | self.data.unheld)

    async def with_field(self, field: str, text: str, among: Sequence[int]) -> Found | None:
        if field not in FIELDS:
            return None
        at = FIELDS.index(field)
        values = {blob: document.fields[at] for blob, document in self.data.documents.items()}
        sure = {blob for blob, value in values.items() if value is not None and text in value}
        return Found(self.data.position, sure, {blob for blob, value in values.items() if value is None} | self.data.unheld)

    async def keys(self, blobs: Sequence[int]) -> dict[int, bytes]:
        return {blob: self.data.documents[blob].keys for blob in blobs if blob in self.data.documents}
