"""Which plugins have tables in the database, those that are not installed any more among them."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
from collections.abc import Sequence
from typing import Any

from mta.app.places import Places
from mta.cli.access import database
from mta.config.load import LoadedConfig
from mta.model.errors import MailError
from mta.pluginhost.host import HookHost
from mta_hooks.backends import SchemaRecord


def kept_tables(config: LoadedConfig, host: HookHost) -> list[SchemaRecord]:
    """Empty too when there is no database yet, or it cannot be asked."""

    async def ask() -> list[SchemaRecord]:
        async with database(config, host) as opened:
            return await opened.tables.schemas()

    if not Places(config.config.data_dir).bus.is_dir():  # nothing was ever started
        return []
    try:
        return asyncio.run(ask())
    except (MailError, OSError):
        return []


def tell_of_tables(rows: list[dict[str, Any]], records: Sequence[SchemaRecord], as_json: bool) -> None:
    """Add what is known to the rows; a plugin that is gone gets a row of its own."""
    for row in rows:
        row["tables"] = []
    by_name = {row["name"]: row for row in rows}
    for record in records:
        if record.plugin not in by_name:
            gone = {
                "name": record.plugin,
                "kind": "package",
                "state": "gone",
                "version": "",
                "required": False,
                "reason": "",
                "path": "",
            }
            by_name[record.plugin] = {**gone, "hooks": [] if as_json else ""}
            rows.append(by_name[record.plugin])
        found = by_name[record.plugin]
        found["tables"] = list(record.tables)
        if found["state"] in ("off", "gone"):
            why = found["reason"] or "not installed"
            found["reason"] = f"{why}; its tables stay in the database: {', '.join(record.tables)}"
