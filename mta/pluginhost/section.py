"""A plugin's section of the config: the keys that every plugin has, and the plugin's own, checked against its model."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from mta.config.units import parse_seconds
from mta.model.errors import ConfigError
from mta.pluginhost.check import nearest
from mta.pluginhost.confine import Confinement
from mta_hooks.markers import OnError

Where = Callable[[str], str]
"""``where("plugins.dkim.selector")`` is "file:line"."""

COMMON = ("on_error", "timeout", "required", "isolate")


@dataclass(frozen=True, slots=True)
class Section:
    """``own`` is what is left for the plugin. None: not given. ``isolate``: None runs in the server's process."""

    on_error: OnError | None
    timeout: float | None
    required: bool | None
    own: dict[str, Any]
    isolate: Confinement | None = None


def split(section: Mapping[str, Any] | None, key: str, where: Where) -> Section:
    """Take the common keys out. ``key`` is like "plugins.dkim". Raises ConfigError."""
    own = dict(section or {})
    on_error, timeout, required, isolate = (own.pop(name, None) for name in COMMON)

    def refuse(name: str, problem: str, fix: str) -> ConfigError:
        return ConfigError(where(f"{key}.{name}"), f"{key}.{name}", problem, fix)

    if on_error is not None and on_error not in get_args(OnError):
        raise refuse("on_error", f"{on_error!r} is not a policy", f"one of {', '.join(get_args(OnError))}.")
    if required is not None and not isinstance(required, bool):
        raise refuse("required", f"{required!r} is neither true nor false", "true or false.")
    if timeout is not None:
        try:
            timeout = parse_seconds(timeout)
        except ValueError as exc:
            raise refuse("timeout", str(exc), "a time such as 10s.") from None
        if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout <= 3600:
            raise refuse("timeout", f"{timeout!r} is not a time", "more than 0 seconds, at most an hour.")
    confinement = None
    if isolate == "process":
        confinement = Confinement()
    elif isinstance(isolate, dict):
        confinement = validate(Confinement, isolate, f"{key}.isolate" if key else "isolate", where)
    elif isolate is not None:
        raise refuse("isolate", f"{isolate!r} is neither process nor limits", "isolate: process, or {user: …, memory: …}.")
    return Section(cast("OnError | None", on_error), None if timeout is None else float(timeout), required, own, confinement)


def validate(model: type[BaseModel] | None, own: Mapping[str, Any], key: str, where: Where) -> Any:
    """Return an instance of the model, or the mapping itself, read-only, when there is none. Raises ConfigError."""
    if model is None:
        return MappingProxyType(dict(own))
    known = {field.alias or name for name, field in model.model_fields.items()}
    if model.model_config.get("extra") != "allow":
        for name in own:
            if name not in known:
                offered = [*known] if model is Confinement else [*known, *COMMON]
                listed = ", ".join(sorted(offered))
                problem = f"unknown key{nearest(name, offered)}"
                raise ConfigError(where(f"{key}.{name}"), f"{key}.{name}", problem, f"known keys: {listed}.")
    try:
        return model.model_validate(dict(own))
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        at = ".".join([key, *(str(part) for part in error["loc"])])
        raise ConfigError(where(at), at, error["msg"][:300], f"see the keys of {key.rpartition('.')[2]}.") from None
