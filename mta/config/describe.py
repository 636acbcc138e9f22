"""The keys of the config as a list: for ``mta config explain``, etc/mta.yaml and docs/operators/config.md."""
# SPDX-License-Identifier: Apache-2.0

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from mta.config.sections import Config, Section
from mta.config.units import parse_rate, parse_seconds, parse_size
from mta.config.yaml import Path


@dataclass(frozen=True, slots=True)
class Key:
    """``name`` is dotted; entries of a list are below ``listen[]``. ``form``: what may be written; ``bounds`` "" when free."""

    name: str
    form: str
    default: Any
    bounds: str
    description: str
    section: bool = False


def keys(model: type[Section] = Config, prefix: str = "") -> Iterator[Key]:
    """Every key in the order of the file, sections before their keys."""
    for name, field in model.model_fields.items():
        below, many = _section(field.annotation)
        default = None if below and not many else field.get_default(call_default_factory=True)
        form = "section" if below and not many else form_of(field.annotation, field.metadata)
        yield Key(prefix + name, form, default, bounds_of(field), field.description or "", below is not None and not many)
        if below is not None:
            yield from keys(below, f"{prefix}{name}{'[]' if many else ''}.")


def section_at(path: Path) -> type[Section] | None:
    """The section whose keys stand below this path; None when there is none (plugins' own config)."""
    model: type[Section] | None = Config
    many = False
    for step in path:
        if isinstance(step, int):
            if not many:
                return None
            many = False
            continue
        field = model.model_fields.get(step) if model else None
        model, many = _section(field.annotation) if field else (None, False)
    return model


def _section(annotation: Any) -> tuple[type[Section] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        if isinstance(inner, type) and issubclass(inner, Section):
            return inner, True
    return None, False


def form_of(annotation: Any, metadata: Any = ()) -> str:
    """What may be written for a value of this type."""
    units = [getattr(m, "func", None) for m in metadata]
    if parse_size in units:
        return "size"
    if parse_seconds in units:
        return "time"
    if parse_rate in units:
        return "rate"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return form_of(args[0], args[1:])
    if origin is tuple:
        return f"list of {form_of(args[0])}s"
    if origin is dict:
        return "table"
    if origin is Literal:
        return " | ".join(str(a) for a in args)
    if origin in (Union, types.UnionType):
        return " | ".join(form_of(a) for a in args if a is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "URL or section"
    names: dict[Any, str] = {str: "text", int: "number", float: "number", bool: "true | false"}
    return names.get(annotation, "value")


def bounds_of(field: FieldInfo) -> str:
    """Like "at least 1, at most 30"; "" when free."""
    out = []
    counted = "characters" if field.annotation is str else "entries"
    for limit in field.metadata:
        if isinstance(limit, Ge):
            out.append(f"at least {limit.ge}")
        elif isinstance(limit, Gt):
            out.append(f"above {limit.gt}")
        elif isinstance(limit, Le):
            out.append(f"at most {limit.le}")
        elif isinstance(limit, Lt):
            out.append(f"below {limit.lt}")
        elif isinstance(limit, MinLen):
            out.append(f"at least {limit.min_length} {counted}")
        elif isinstance(limit, MaxLen):
            out.append(f"at most {limit.max_length} {counted}")
    return ", ".join(out)
