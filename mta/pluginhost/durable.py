"""Durable hooks: their records as JSON in the outbox, and back."""
# SPDX-License-Identifier: Apache-2.0

import dataclasses
from collections.abc import Mapping
from typing import Any

from mta.model.delivery import DeliveryRecord
from mta_hooks.views import MailboxEvent

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


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
