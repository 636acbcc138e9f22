"""The two decorators. Options live on the function, so that a plan can be compiled from it once."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

import pluggy

PROJECT = "mta"
OPTIONS = "mta_hook_options"
SPEC = "mta_hook_spec"

F = TypeVar("F", bound=Callable[..., Any])
OnError = Literal["defer", "continue", "retry", "reject"]
Mode = Literal["verdict", "first", "all", "pipeline", "notify", "durable", "load"]

_impl = pluggy.HookimplMarker(PROJECT)
_spec = pluggy.HookspecMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class HookOptions:
    """What an implementation asks for.

    before, after  names of plugins or roles; unknown names are ignored
    timeout        seconds; None: the plugin's, then the hook's
    on_error       None: the plugin's, then the hook's
    types          of the parts that a ``mime_part`` wants: "application/pdf", "image/*"; empty: all
    verbs          that a ``smtp_command`` or ``imap_command`` answers
    """

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    timeout: float | None = None
    on_error: OnError | None = None
    types: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HookSpec:
    """What a specification fixes: mode, the actions that a verdict may have, default failure policy, seconds.

    scores  ``add_score`` is an answer too
    each    a mapping from recipients' addresses to verdicts is an answer too
    """

    mode: Mode
    allowed: tuple[str, ...] = ()
    on_error: OnError = "continue"
    timeout: float = 5.0
    scores: bool = False
    each: bool = False


@overload
def hookimpl(function: F, /) -> F: ...
@overload
def hookimpl(
    *,
    before: str | tuple[str, ...] = (),
    after: str | tuple[str, ...] = (),
    timeout: float | None = None,
    on_error: OnError | None = None,
    specname: str | None = None,
    types: str | tuple[str, ...] = (),
    verbs: str | tuple[str, ...] = (),
) -> Callable[[F], F]: ...
def hookimpl(
    function: F | None = None,
    /,
    *,
    before: str | tuple[str, ...] = (),
    after: str | tuple[str, ...] = (),
    timeout: float | None = None,
    on_error: OnError | None = None,
    specname: str | None = None,
    types: str | tuple[str, ...] = (),
    verbs: str | tuple[str, ...] = (),
) -> F | Callable[[F], F]:
    """Mark a function or method as an implementation of the hook of its name; ``def`` and ``async def`` alike.

    It names only the arguments it wants, plus ``ctx`` for the services. A mistyped hook or argument is refused at load.
    ``types`` is for ``mime_part``, ``verbs`` for ``smtp_command``: what the implementation is asked for.
    """

    def mark(f: F) -> F:
        lowered, upper = tuple(t.lower() for t in _names(types)), tuple(v.upper() for v in _names(verbs))
        options = HookOptions(_names(before), _names(after), timeout, on_error, lowered, upper)
        setattr(f, OPTIONS, options)
        return _impl(f, optionalhook=False, specname=specname)

    return mark if function is None else mark(function)


def hookspec(
    mode: Mode,
    *,
    allowed: tuple[str, ...] = (),
    on_error: OnError = "continue",
    timeout: float = 5.0,
    scores: bool = False,
    each: bool = False,
) -> Callable[[F], F]:
    """Mark a specification."""

    def mark(f: F) -> F:
        setattr(f, SPEC, HookSpec(mode, allowed, on_error, timeout, scores, each))
        return _spec(f)

    return mark


def _names(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
