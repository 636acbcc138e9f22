"""What a plugin in a process of its own says of itself once it is loaded: all that the server needs to stand in for it.

Written over there (isolated.py), read here (isolation.py, standins.py) and checked like any answer from outside. A place is where
something is written: (file, line).
"""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass, field
from typing import Any, Literal

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class HookThere:
    """``options``: the fields of HookOptions."""

    hook: str
    names: tuple[str, ...]
    options: dict[str, Any]
    place: Place


@dataclass(frozen=True, slots=True)
class JobThere:
    name: str
    every: float
    single: bool
    place: Place


@dataclass(frozen=True, slots=True)
class ServiceThere:
    name: str
    single: bool
    place: Place


@dataclass(frozen=True, slots=True)
class RouteThere:
    method: str
    path: str
    access: Literal["public", "user", "admin"]
    timeout: float
    place: Place


@dataclass(frozen=True, slots=True)
class FunctionThere:
    """A function that names what it wants to be given."""

    names: tuple[str, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class CapabilityThere:
    """``mail`` and ``rcpt``: parameters, and what checks their values, if anything does."""

    protocol: Literal["imap", "smtp", "pop3"]
    line: str
    commands: dict[str, FunctionThere]
    mail: dict[str, Place | None]
    rcpt: dict[str, Place | None]
    before_login: bool


@dataclass(frozen=True, slots=True)
class MechanismThere:
    name: str
    needs_tls: bool
    server_first: bool
    channel_binding: bool
    place: Place


@dataclass(frozen=True, slots=True)
class BackendThere:
    """``patterns``: of tables, where the factory says so before it has made one."""

    kind: Literal["directory", "table"]
    scheme: str
    patterns: bool
    place: Place


@dataclass(frozen=True, slots=True)
class PluginThere:
    """``wishes``: durable notifications that it wants; None: all. ``command``: the first line of its help; None: it has none.
    ``schema``: its tables, as sqlschema.py writes them."""

    path: str
    roles: tuple[str, ...] = ()
    wishes: tuple[str, ...] | None = None
    hooks: tuple[HookThere, ...] = ()
    jobs: tuple[JobThere, ...] = ()
    services: tuple[ServiceThere, ...] = ()
    routes: tuple[RouteThere, ...] = ()
    metrics: tuple[Place, ...] = ()
    received: FunctionThere | None = None
    capabilities: tuple[CapabilityThere, ...] = ()
    mechanisms: tuple[MechanismThere, ...] = ()
    backends: tuple[BackendThere, ...] = ()
    command: str | None = None
    schema: dict[str, Any] | None = field(default=None)
