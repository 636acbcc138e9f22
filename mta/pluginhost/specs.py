"""The hook specifications of ``mta_hooks.hookspecs`` as data: arguments, mode, allowed verdicts, answer types.

Read once at import. pluggy gets copies of the specifications that take ``ctx`` too, because every implementation may name it.
"""
# SPDX-License-Identifier: Apache-2.0

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import mta_hooks
from mta.model.delivery import DeliveryAnswer
from mta.model.directory import AuthAnswer, Target
from mta_hooks import hookspecs, services
from mta_hooks.edits import DeliveryEdit
from mta_hooks.markers import SPEC, HookSpec, Mode, OnError

_NAMES = {
    **vars(mta_hooks),
    **vars(services),
    "DeliveryEdit": DeliveryEdit,
    "DeliveryAnswer": DeliveryAnswer,
    "AuthAnswer": AuthAnswer,
    "Target": Target,
    "Mapping": Mapping,
    "Sequence": Sequence,
}


@dataclass(frozen=True, slots=True)
class Spec:
    """One hook.

    arguments  what an implementation may name, beside ``ctx``
    answers    classes that an answer may have; empty: answers are ignored
    listed     a list of ``answers`` is as good as one
    scores     ``add_score`` is an answer too
    each       a mapping from addresses to verdicts is an answer too
    """

    name: str
    arguments: tuple[str, ...]
    mode: Mode
    allowed: frozenset[str]
    on_error: OnError
    timeout: float
    answers: tuple[type, ...]
    listed: bool
    text: str
    scores: bool = False
    each: bool = False


def _read(function: types.FunctionType) -> Spec:
    options: HookSpec = getattr(function, SPEC)
    returned = typing.get_type_hints(function, _NAMES)["return"]
    members = typing.get_args(returned) if isinstance(returned, types.UnionType) else (returned,)
    return Spec(
        name=function.__name__,
        arguments=tuple(inspect.signature(function).parameters),
        mode=options.mode,
        allowed=frozenset(options.allowed),
        on_error=options.on_error,
        timeout=options.timeout,
        answers=tuple(m for m in members if isinstance(m, type) and m is not types.NoneType and not typing.get_origin(m)),
        listed=any(typing.get_origin(m) is list for m in members),
        text=inspect.getdoc(function) or "",
        scores=options.scores,
        each=options.each,
    )


SPECS: dict[str, Spec] = {
    name: _read(function)
    for name, function in vars(hookspecs).items()
    if isinstance(function, types.FunctionType) and hasattr(function, SPEC)
}


@cache
def hints(name: str) -> Mapping[str, Any]:
    """Types of a hook's arguments, and of its answer under "return"."""
    return typing.get_type_hints(getattr(hookspecs, name), _NAMES)


def with_ctx() -> types.ModuleType:
    """The specifications for ``pluggy.PluginManager.add_hookspecs``, each with ``ctx`` as one more argument."""
    module = types.ModuleType("mta_hooks_with_ctx")
    for name in SPECS:
        setattr(module, name, _widened(getattr(hookspecs, name)))
    return module


def _widened(function: Any) -> types.FunctionType:
    code: types.CodeType = function.__code__
    names = (*code.co_varnames[: code.co_argcount], "ctx")
    wider = code.replace(co_argcount=len(names), co_nlocals=len(names), co_varnames=names)
    copy = types.FunctionType(wider, function.__globals__, function.__name__)
    copy.__dict__.update(function.__dict__)
    return copy
