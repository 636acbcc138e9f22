"""Durable hooks: their arguments as JSON in the outbox, and back.

A hook with one argument has the record itself as its payload; one with several an object with each by its name.
"""
# SPDX-License-Identifier: Apache-2.0

import base64
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mta.model.address import Address
from mta.model.delivery import DeliveryRecord
from mta.model.message import Origin
from mta.wire.dsn.parse import ReceivedReport, ReportedRecipient
from mta.wire.mime.headers import headers
from mta_hooks.views import MailboxEvent

KEPT = 64 * 1024
"""Octets of a message that the outbox keeps."""

_RECORDS: dict[str, type[DeliveryRecord] | type[MailboxEvent]] = {"record": DeliveryRecord, "event": MailboxEvent}


def payload_of(record: DeliveryRecord | MailboxEvent) -> dict[str, Any]:
    """The record as a JSON-able mapping: what ``Notification.payload`` holds."""
    return {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}


def record_of(argument: str, payload: Mapping[str, Any]) -> DeliveryRecord | MailboxEvent:
    """Rebuild the argument ``record`` or ``event`` of a durable hook.

    Keys that a newer version wrote are passed over, so that a downgrade loses no notification. Raises TypeError for a
    payload that lacks a key.
    """
    kind: Any = _RECORDS[argument]
    fields = {f.name for f in dataclasses.fields(kind)}
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in payload.items() if key in fields}
    record: DeliveryRecord | MailboxEvent = kind(**values)
    return record


# ---- several arguments


def arguments_of(names: Sequence[str], payload: Mapping[str, Any]) -> dict[str, Any]:
    """Rebuild all arguments of a durable hook. Raises TypeError for a payload that lacks something."""
    if len(names) == 1:
        return {names[0]: record_of(names[0], payload)}
    try:
        return {name: _REBUILD[name](payload[name]) for name in names}
    except (KeyError, ValueError) as exc:
        raise TypeError(f"payload without {exc}") from exc


def payload_of_report(message: Any, report: ReceivedReport) -> dict[str, Any]:
    """What ``report_received`` gets: a message (``mta_hooks.views.Message``) and what it reports."""
    octets = next(message.chunks(KEPT), b"")
    kept = {
        "id": message.id,
        "origin": message.origin,
        "sender": None if message.sender is None else str(message.sender),
        "size": message.size,
        "octets": base64.b64encode(octets).decode("ascii"),
    }
    return {"message": kept, "report": dataclasses.asdict(report)}


class KeptMessage:
    """A message as the outbox kept it: a ``mta_hooks.views.Message`` whose octets end after ``KEPT``; ``size`` is the whole one's."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.id: str = fields["id"]
        self.origin: Origin = fields["origin"]
        self.sender = None if fields["sender"] is None else Address.parse(fields["sender"])
        self.size: int = fields["size"]
        self.notes: dict[str, Any] = {}
        self.raw = base64.b64decode(fields["octets"])
        self.headers = headers(self.raw)

    def chunks(self, size: int = 65536) -> Iterator[bytes]:
        for start in range(0, len(self.raw), size):
            yield self.raw[start : start + size]

    def header(self, name: str) -> str | None:
        return next(iter(self.header_all(name)), None)

    def header_all(self, name: str) -> list[str]:
        lowered = name.lower()
        return [value for known, value in self.headers if known.lower() == lowered]


def _report(fields: Mapping[str, Any]) -> ReceivedReport:
    known = {f.name for f in dataclasses.fields(ReceivedReport)}
    values = {key: value for key, value in fields.items() if key in known}
    values["recipients"] = tuple(ReportedRecipient(**one) for one in fields["recipients"])
    return ReceivedReport(**values)


_REBUILD: Mapping[str, Any] = {"message": KeptMessage, "report": _report}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
