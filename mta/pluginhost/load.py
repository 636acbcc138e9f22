"""One package plugin: found by its entry point, imported, checked, asked what it offers, its config validated."""
# SPDX-License-Identifier: Apache-2.0

import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mta.config.safe import GROUP
from mta.model.errors import ConfigError
from mta.pluginhost.call import describe
from mta.pluginhost.check import PluginRefused, check, check_name, implementations, nearest
from mta.pluginhost.context import PluginContext, Services
from mta.pluginhost.isolation import IsolatedPlugin
from mta.pluginhost.owned import check_owned
from mta.pluginhost.plugin import HostOptions, Plugin, make_plugin
from mta.pluginhost.section import Where, split, validate

Find = Callable[[str], Sequence[EntryPoint]]


def find(name: str) -> Sequence[EntryPoint]:
    """The entry points of this name; one is right."""
    return tuple(entry_points(group=GROUP, name=name))


def load_package(
    name: str, section: Mapping[str, Any] | None, place: int, services: Services, options: HostOptions, where: Where, search: Find
) -> Plugin:
    """Raises PluginRefused when it cannot run, ConfigError when its section of the config is wrong."""
    key = f"plugins.{name}"
    common = split(section, key, where)
    isolated = None
    if common.isolate is None:
        plugin = imported(name, place, options, search)
    else:
        assert services.launcher is not None  # the host's, which loads us
        entry = _entry_point(name, search)
        isolated = IsolatedPlugin(name, common.isolate, services, {"entry_point": entry.value})
        object = isolated.load(services.launcher, common.own, key, where)
        try:
            plugin = _made(entry, object, place, options)
        except PluginRefused:
            isolated.close()
            raise
        plugin.process = isolated
    plugin.on_error, plugin.timeout = common.on_error, common.timeout
    plugin.required = bool(plugin.offers.backends) if common.required is None else common.required
    config = validate(plugin.offers.model, common.own, key, where)
    plugin.context = PluginContext(name, config, services, plugin.pool, plugin.offers.schemas)
    if isolated is not None:
        isolated.place(plugin)
    return plugin


def imported(name: str, place: int, options: HostOptions, search: Find) -> Plugin:
    """The plugin with its offers, before its section is looked at. Raises PluginRefused."""
    entry = _entry_point(name, search)
    target = guarded(entry.load)
    return _made(entry, guarded(target) if inspect.isclass(target) else target, place, options)


def _entry_point(name: str, search: Find) -> EntryPoint:
    check_name(name)
    found = search(name)
    if not found:
        known = sorted({e.name for e in entry_points(group=GROUP)})
        raise PluginRefused(f"not installed{nearest(name, known)}; installed are {', '.join(known)}")
    if len(found) > 1:
        owners = ", ".join(sorted(e.dist.name if e.dist else "?" for e in found))
        raise PluginRefused(f"several distributions provide this name: {owners}")
    return found[0]


def _made(entry: EntryPoint, object: Any, place: int, options: HostOptions) -> Plugin:
    plugin: Plugin = guarded(make_plugin, entry.name, object, "package", place, options)
    plugin.version = entry.dist.version if entry.dist else ""
    adopt(plugin)
    return plugin


def adopt(plugin: Plugin) -> None:
    """Check the plugin and let it register its offers. Raises PluginRefused."""
    guarded(check, plugin.object)
    for hook, function in implementations(plugin.object):
        if hook == "register":
            wanted = (plugin.offers,) if inspect.signature(function).parameters else ()
            guarded(function, *wanted)
    if not plugin.path:
        plugin.path = str(getattr(sys.modules.get(type(plugin.object).__module__), "__file__", None) or "")
    check_owned(plugin)


def guarded(function: Callable[..., Any], *args: Any) -> Any:
    """Run a plugin's own code at load; whatever it raises becomes PluginRefused with file and line."""
    try:
        return function(*args)
    except (ConfigError, PluginRefused):
        raise
    except (Exception, SystemExit) as exc:
        file, line = place_of(exc)
        raise PluginRefused(describe(exc), file, line) from exc


def place_of(exc: BaseException) -> tuple[str, int]:
    """Where it was raised, or where the syntax error is."""
    if isinstance(exc, SyntaxError):
        return exc.filename or "", exc.lineno or 0
    frames = traceback.extract_tb(exc.__traceback__)
    return (frames[-1].filename, frames[-1].lineno or 0) if frames else ("", 0)
