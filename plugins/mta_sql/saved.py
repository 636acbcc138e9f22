"""When messages came into their mailbox (RFC 8514)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping, Sequence

from mta.model.ids import MailboxId, Uid
from mta_sql.core import Core
from mta_sql.dialect import Connection
from mta_sql.store_read import SHORT

_SAVED = "SELECT uid, coalesce(saved, date) FROM messages WHERE mailbox_id = ? AND uid IN ARRAY ?"


class SqlSaveDates:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def saved(self, mailbox: MailboxId, uids: Sequence[Uid]) -> Mapping[Uid, int]:
        def read(connection: Connection) -> dict[Uid, int]:
            return {row[0]: row[1] for row in connection.execute(_SAVED, (mailbox, connection.array(uids))).fetchall()}

        return await self._core.read(read, big=len(uids) > SHORT)
