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
from mta.wire.dsn.tls import ReportedTls, TlsFailures
from mta.wire.mime.headers import header_end, headers
from mta_hooks.views import Envelope, MailboxEvent

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
    """What ``report_received`` gets; ``message`` is a ``mta_hooks.views.Message``."""
    return {"message": _kept(message, next(message.chunks(KEPT), b"")), "report": dataclasses.asdict(report)}


def payload_of_accepted(message: Any, envelopes: Sequence[Envelope]) -> dict[str, Any]:
    """What ``message_accepted`` gets: the message's header, and its envelopes."""
    first = next(message.chunks(KEPT), b"")
    return {"message": _kept(message, first[: header_end(first)]), "envelopes": [_fields_of(one) for one in envelopes]}


def _fields_of(envelope: Envelope) -> dict[str, Any]:
    fields = {f.name: getattr(envelope, f.name) for f in dataclasses.fields(envelope)}
    fields["sender"] = _text(envelope.sender)
    fields["recipients"] = [str(address) for address in envelope.recipients]
    return fields


def _kept(message: Any, octets: bytes) -> dict[str, Any]:
    return {
        "id": message.id,
        "origin": message.origin,
        "sender": _text(message.sender),
        "size": message.size,
        "octets": base64.b64encode(octets).decode("ascii"),
    }


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)


def _address(text: str) -> Address:
    return Address.parse(text) if "@" in text else Address(text, "")  # <postmaster>, RFC 5321 §4.5.1


class KeptMessage:
    """A message as the outbox kept it: a ``mta_hooks.views.Message`` whose octets end with its header or after ``KEPT``; ``size`` is the whole one's."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.id: str = fields["id"]
        self.origin: Origin = fields["origin"]
        self.sender = None if fields["sender"] is None else _address(fields["sender"])
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


def _reported_tls(fields: Mapping[str, Any]) -> ReportedTls:
    return ReportedTls(**{**fields, "failures": tuple(TlsFailures(**one) for one in fields["failures"])})


def _report(fields: Mapping[str, Any]) -> ReceivedReport:
    known = {f.name for f in dataclasses.fields(ReceivedReport)}
    values = {key: value for key, value in fields.items() if key in known}
    values["recipients"] = tuple(ReportedRecipient(**one) for one in fields["recipients"])
    values["domains"] = tuple(fields.get("domains", ()))
    values["tls"] = tuple(_reported_tls(one) for one in fields.get("tls", ()))
    return ReceivedReport(**values)


def _envelopes(kept: Sequence[Mapping[str, Any]]) -> tuple[Envelope, ...]:
    known = {f.name for f in dataclasses.fields(Envelope)}
    out = []
    for fields in kept:
        values = {key: value for key, value in fields.items() if key in known}
        values["sender"] = None if fields["sender"] is None else _address(fields["sender"])
        values["recipients"] = tuple(_address(text) for text in fields["recipients"])
        out.append(Envelope(**values))
    return tuple(out)


_REBUILD: Mapping[str, Any] = {"message": KeptMessage, "report": _report, "envelopes": _envelopes}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
