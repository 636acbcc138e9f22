"""``registry.capability``: what may be offered, checked while loading."""
# SPDX-License-Identifier: Apache-2.0

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mta.pluginhost.check import PluginRefused
from mta.wire.imap.command import VERBS as IMAP_VERBS
from mta.wire.pop3.command import VERBS as POP3_VERBS
from mta.wire.smtp.command import VERBS as SMTP_VERBS

Protocol = Literal["imap", "smtp", "pop3"]

ARGUMENTS = ("session", "arguments")
"""What a command's handler may name, beside ``ctx``."""

_VERBS: Mapping[str, frozenset[str]] = {
    "imap": IMAP_VERBS,
    "smtp": SMTP_VERBS,
    "pop3": frozenset({*POP3_VERBS, "APOP", "LANG", "UTF8"}),
}
_PARAMS = frozenset({"SIZE", "BODY", "SMTPUTF8", "AUTH", "RET", "ENVID", "NOTIFY", "ORCPT"})
_VERB = re.compile(r"[A-Z][A-Z0-9.-]{0,31}\Z")
_POP3_VERB = re.compile(r"[A-Z]{3,12}\Z")
_KEYWORD = re.compile(r"[A-Z0-9][A-Z0-9=.:+/_-]{0,63}\Z")
_PARAM = re.compile(r"[A-Z0-9][A-Z0-9-]{0,63}\Z")
_VALUES = re.compile(r"[!-~]{1,200}(?: [!-~]{1,200}){0,20}\Z")


@dataclass(frozen=True, slots=True)
class Capability:
    """``line`` is what is advertised. ``commands`` by verb; ``mail`` and ``rcpt``: checks of parameters, None for any value."""

    protocol: Protocol
    line: str
    commands: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    mail: Mapping[str, Callable[[str | None], str | None] | None] = field(default_factory=dict)
    rcpt: Mapping[str, Callable[[str | None], str | None] | None] = field(default_factory=dict)
    before_login: bool = False


def make_capability(
    protocol: Any,
    keyword: Any,
    params: Any,
    commands: Mapping[str, Any],
    mail: Mapping[str, Any],
    rcpt: Mapping[str, Any],
    before_login: bool,
) -> Capability:
    """Raises PluginRefused."""
    if protocol not in _VERBS:
        raise PluginRefused(f"registry.capability is for imap, smtp and pop3, not {protocol!r}")
    if not isinstance(keyword, str) or not _KEYWORD.match(keyword):
        raise PluginRefused(f"{keyword!r:.80} is no capability; write it in upper case")
    if not isinstance(params, str) or (params and (protocol == "imap" or not _VALUES.match(params))):
        raise PluginRefused(f"capability {keyword}: params are words of printable ASCII, for smtp and pop3")
    _check_commands(protocol, keyword, commands)
    if (mail or rcpt) and protocol != "smtp":
        raise PluginRefused(f"capability {keyword}: only smtp has parameters of MAIL and RCPT")
    for name, check in (*mail.items(), *rcpt.items()):
        if name in _PARAMS or not _PARAM.match(name):
            raise PluginRefused(f"capability {keyword}: {name!r:.80} is a parameter of SMTP's own, or none at all")
        if check is not None and not callable(check):
            raise PluginRefused(f"capability {keyword}: the check of {name} must be a function, or None")
    line = f"{keyword} {params}" if params else keyword
    return Capability(protocol, line, dict(commands), dict(mail), dict(rcpt), before_login or protocol == "smtp")


def _check_commands(protocol: str, keyword: str, commands: Mapping[Any, Any]) -> None:
    form = _POP3_VERB if protocol == "pop3" else _VERB
    for verb, handler in commands.items():
        if verb in _VERBS[protocol] or not isinstance(verb, str) or not form.match(verb):
            raise PluginRefused(f"capability {keyword}: {verb!r:.80} is a command of {protocol.upper()}'s own, or none at all")
        if not callable(handler):
            raise PluginRefused(f"capability {keyword}: the command {verb} must be a function")
        check_arguments(f"capability {keyword}: the command {verb}", handler)


def check_arguments(what: str, handler: Callable[..., Any], arguments: tuple[str, ...] = ARGUMENTS) -> None:
    """Raises PluginRefused when it wants what it will not be given."""
    for parameter in inspect.signature(handler).parameters.values():
        named = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name in (*arguments, "ctx")
        if not named and parameter.default is parameter.empty:
            raise PluginRefused(f"{what} has no argument {parameter}; it has {', '.join(arguments)}, ctx")
