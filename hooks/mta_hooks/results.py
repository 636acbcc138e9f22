"""Typed results of ``message_authenticate``; the engine merges all into one Authentication-Results field (RFC 8601)."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuthResult:
    """One method's word.

    method      "dkim", "spf", "dmarc", …        result  "pass", "fail", "none", "neutral", "temperror", …
    properties  ("header.d", "example.org") pairs in the order to print
    """

    method: str
    result: str
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """How a plugin is. "degraded": it works, but not as it should; "failed": it does not. Raises ValueError for another state."""

    state: str = "ok"
    text: str = ""

    def __post_init__(self) -> None:
        if self.state not in ("ok", "degraded", "failed"):
            raise ValueError(f'a state is "ok", "degraded" or "failed", not {self.state!r}')
