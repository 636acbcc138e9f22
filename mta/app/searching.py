"""The full-text index that the config names."""
# SPDX-License-Identifier: Apache-2.0

from mta.config.load import LoadedConfig
from mta.model.errors import ConfigError, TemporaryFailure
from mta.obs.log import Log
from mta.pluginhost.host import HookHost
from mta_hooks.backends.database import Database, DatabaseOptions
from mta_hooks.backends.search import Indexable, Search

DEFAULT = "sql"
NONE = "none"


def make_search(loaded: LoadedConfig, hooks: HookHost, database: Database, options: DatabaseOptions) -> Search | None:
    """Not yet open. None: there is to be none, or the mail store cannot be indexed. Raises ConfigError for a scheme that nobody offers."""
    text = loaded.config.storage.search
    scheme = text.partition(":")[0]
    if scheme == NONE or not isinstance(database.store, Indexable):  # mailboxes elsewhere, as a rule: SEARCH reads messages
        return None
    if text == DEFAULT and not hooks.brings("search", scheme):  # without mta_sql
        return None
    try:
        made: Search = hooks.backend("search", scheme)(text, database, options)
    except ConfigError as exc:
        raise loaded.mistake("storage.search", exc.problem, exc.fix) from exc
    return made


async def open_search(
    loaded: LoadedConfig, hooks: HookHost, database: Database, options: DatabaseOptions, log: Log
) -> Search | None:
    """The open index; None when it is not wanted or cannot be had now: SEARCH then reads messages, mail is not held up."""
    search = make_search(loaded, hooks, database, options)
    if search is None and loaded.config.storage.search != NONE:
        log.info("search.not_indexable", search=loaded.config.storage.search)
    if search is not None:
        try:
            await search.open()
        except TemporaryFailure as exc:
            log.warning("search.unavailable", problem=str(exc))
            return None
    return search
