"""What a plugin in a process of its own offers, described for the server's stand-ins (described.py), or refused with the reason."""
# SPDX-License-Identifier: Apache-2.0

import inspect
from collections.abc import Callable
from typing import Any, Literal, cast

from mta.pluginhost.capabilities import ARGUMENTS
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.described import (
    BackendThere,
    CapabilityThere,
    FunctionThere,
    JobThere,
    MechanismThere,
    RouteThere,
    ServiceThere,
)
from mta.pluginhost.plugin import Plugin
from mta.pluginhost.registry import RECEIVED
from mta.pluginhost.step import place_of_code
from mta_hooks.backends.tables import Schema

WHY_NOT = {
    "database": "it is the server's own durability: 250 is said when its transaction is there",
    "blob": "its octets are written within the server's transactions",
    "store": "its mailboxes are read and written by every session, in bulk",
    "search": "it is fed every message, in bulk",
}
"""Backends that stay in the server's process (docs/decisions/isolated-plugins.md)."""


def described(plugin: Plugin) -> dict[str, Any]:
    """The fields of PluginThere about offers. Raises PluginRefused for what cannot be elsewhere."""
    offers = plugin.offers
    received = offers.received
    return {
        "jobs": [JobThere(job.name, job.every, job.single, place_of_code(job.run)) for job in offers.jobs],
        "services": [ServiceThere(one.name, one.single, place_of_code(one.run)) for one in offers.services],
        "routes": [
            RouteThere(route.method, route.path, route.access, route.timeout, place_of_code(route.handler))
            for route in offers.made_routes(plugin.context.config)
        ],
        "metrics": [place_of_code(function) for function in offers.metrics_functions],
        "received": None if received is None else _function(received, RECEIVED),
        "capabilities": [
            CapabilityThere(
                one.protocol,
                one.line,
                {verb: _function(handler, ARGUMENTS) for verb, handler in one.commands.items()},
                {name: None if check is None else place_of_code(check) for name, check in one.mail.items()},
                {name: None if check is None else place_of_code(check) for name, check in one.rcpt.items()},
                one.before_login,
            )
            for one in offers.capabilities
        ],
        "mechanisms": [
            MechanismThere(
                name, one.needs_tls, one.server_first, bool(getattr(one, "channel_binding", False)), place_of_code(one.step)
            )
            for name, one in offers.mechanisms.items()
        ],
        "schema": None if offers.schemas is None else _schema(offers.schemas, plugin.path),
        "command": None if offers.command is None else offers.command.get_short_help_str(),
        "backends": [_backend(kind, scheme, factory, plugin.path) for (kind, scheme), factory in offers.backends.items()],
    }


def _function(function: Callable[..., Any], known: tuple[str, ...]) -> FunctionThere:
    names = tuple(name for name in inspect.signature(function).parameters if name in (*known, "ctx"))
    return FunctionThere(names, place_of_code(function))


def _schema(schema: Schema, path: str) -> dict[str, Any]:
    from mta.pluginhost.sqlschema import schema_out  # SQLAlchemy is imported by plugins that have tables

    try:
        return schema_out(schema)
    except LookupError as exc:
        raise PluginRefused(str(exc), path) from None


def _backend(kind: str, scheme: str, factory: Any, path: str) -> BackendThere:
    if kind in ("directory", "table"):
        return BackendThere(
            cast("Literal['directory', 'table']", kind), scheme, getattr(factory, "patterns", False) is True, place_of_code(factory)
        )
    why = WHY_NOT.get(kind, "it is part of the server")
    raise PluginRefused(f"a {kind} backend cannot run in a process of its own, because {why}: leave out isolate", path)
