"""A commented sample of a plugin's section: every key with its meaning, bounds and default, ready to be copied into the config."""
# SPDX-License-Identifier: Apache-2.0

import inspect
import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mta.config.describe import bounds_of, form_of

_COMMON = (
    ("on_error", "null", "What a failing hook answers: continue, defer, reject or retry; null: as the plugin or the hook says."),
    ("timeout", "null", "Longest time of one call, such as 3s; null: as the plugin or the hook says."),
    ("required", "null", "true: no start without it; null: true for plugins that bring a backend."),
)


def sample(name: str, model: type[BaseModel] | None) -> str:
    """YAML that means the same as ``NAME: {}``, except for keys that must be given."""
    own = [] if model is None else list(_keys(model, "    "))
    needs = model is not None and any(field.is_required() for field in model.model_fields.values())
    lines = ["plugins:", f"  {name}:" if needs else f"  {name}: {{}}   # take the braces away when a key is given"]
    if model is None:
        lines.append("    # This plugin has no keys that the server knows of; see its own documentation.")
    common = [line for key, default, meaning in _COMMON for line in (f"    # {meaning}", f"    #{key}: {default}")]
    return "\n".join([*lines, *own, "    # Known to every plugin:", *common]) + "\n"


def _keys(model: type[BaseModel], indent: str, off: str = "#") -> Iterator[str]:
    """``off`` stands before keys that may be left out; "" below a section that is itself commented out by its ``indent``."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        bounds = ", ".join(n for n in (_form(field), bounds_of(field)) if n)
        text = " ".join(n for n in (field.description or "", f"({bounds})" if bounds else "") if n)
        yield from (f"{indent}# {line}" for line in inspect.cleandoc(text).splitlines())
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            given = field.is_required() or not off
            yield f"{indent}{key}:" if given else f"{indent}#{key}:"
            yield from _keys(inner, f"{indent}  ", off) if given else _keys(inner, f"{indent}#  ", "")
        elif field.is_required():
            yield f"{indent}{key}:   # must be given"
        else:
            yield f"{indent}{off}{key}: {_written(field.get_default(call_default_factory=True))}"


def _form(field: FieldInfo) -> str:
    form = form_of(field.annotation, field.metadata)
    return "" if form == "value" else form


def _written(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, frozenset | set):
        value = sorted(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, default=str)
