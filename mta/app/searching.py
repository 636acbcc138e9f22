"""The full-text index that the config names."""
# SPDX-License-Identifier: Apache-2.0

from mta.app.apart import separate
from mta.config.load import LoadedConfig
from mta.model.errors import TemporaryFailure
from mta.obs.log import Log
from mta.pluginhost.host import HookHost
from mta_hooks.backends.database import Database, DatabaseOptions
from mta_hooks.backends.search import Search

DEFAULT = "sql"
NONE = "none"


def make_search(loaded: LoadedConfig, hooks: HookHost, database: Database, options: DatabaseOptions) -> Search | None:
    """Not yet open. None: there is to be none. Raises ConfigError for a scheme that nobody offers."""
    text = loaded.config.storage.search
    scheme = text.partition(":")[0]
    beside = separate(database) is None and hooks.brings("search", scheme)
    if scheme == NONE or (text == DEFAULT and not beside):  # without mta_sql, or with mailboxes elsewhere: SEARCH reads messages
        return None
    made: Search = hooks.backend("search", scheme)(text, database, options)
    return made


async def open_search(
    loaded: LoadedConfig, hooks: HookHost, database: Database, options: DatabaseOptions, log: Log
) -> Search | None:
    """The open index; None when it is not wanted or cannot be had now: SEARCH then reads messages, mail is not held up."""
    search = make_search(loaded, hooks, database, options)
    if search is not None:
        try:
            await search.open()
        except TemporaryFailure as exc:
            log.warning("search.unavailable", problem=str(exc))
            return None
    return search
