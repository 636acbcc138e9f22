"""What a plugin has of its own beside its hooks: commands, tables, services. Checked at load; tables are migrated before it is called."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.call import describe
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.tables import check_schema
from mta_hooks.backends.tables import Tables

COMMANDS = frozenset(
    {
        "serve", "reload", "status", "config", "doctor", "domain", "user", "alias", "app-password", "queue", "plugins", "hooks",
        "trace", "explain", "mailbox", "lookup", "backup", "restore", "import", "dns", "help",
    }
)  # fmt: skip
"""The server's own, and those that it will have."""


def check_owned(plugin: Plugin) -> None:
    """Raises PluginRefused for an offer that cannot be kept."""
    offers = plugin.offers
    owned = [word for word, offer in (("cli", offers.command), ("schema", offers.schemas), ("service", offers.services)) if offer]
    if owned and plugin.kind != "package":
        raise PluginRefused(f"registry.{owned[0]} is for installed plugins, not for a {plugin.kind}", plugin.path)
    if offers.command is not None and plugin.name in COMMANDS:
        raise PluginRefused(
            f"registry.cli: mta {plugin.name} is a command of the server; a plugin of that name has none", plugin.path
        )
    if offers.schemas is not None:
        check_schema(plugin.name, offers.schemas)


async def migrate(plugin: Plugin, tables: Tables | None) -> None:
    """Raises PluginRefused when the plugin cannot run with what the database has; TemporaryFailure when that is away."""
    schema = plugin.offers.schemas
    if schema is None:
        return
    if tables is None:
        raise PluginRefused("the database backend keeps no tables of plugins", plugin.path)
    try:
        await tables.migrate(plugin.name, schema)
    except ConfigError as exc:
        raise PluginRefused(f"{exc.problem}; {exc.fix.rstrip('.')}", plugin.path) from exc
    except TemporaryFailure:
        raise
    except Exception as exc:
        raise PluginRefused(f"registry.schema: {describe(exc)}", plugin.path) from exc
