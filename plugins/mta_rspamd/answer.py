"""What rspamd answers to /checkv2: JSON, as far as it is used here."""
# SPDX-License-Identifier: Apache-2.0

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class NotRspamd(ValueError):
    """The body is not what rspamd answers."""


@dataclass(frozen=True, slots=True)
class Answer:
    """``symbols`` are names with scores, those that weigh most first; ``text`` is what rspamd wants the peer to read, or ""."""

    action: str
    score: float
    required: float
    symbols: tuple[tuple[str, float], ...]
    text: str = ""

    @property
    def is_spam(self) -> bool:
        """Rspamd's word: an action that marks or refuses. Waiting (greylist, soft reject) is no judgement."""
        return self.action not in ("no action", "greylist", "soft reject")


def read_answer(body: bytes) -> Answer:
    """Raises NotRspamd."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise NotRspamd("no JSON in the answer") from exc
    if not isinstance(data, dict) or not isinstance(action := data.get("action"), str):
        raise NotRspamd("no action in the answer")
    symbols = _mapping(data.get("symbols"))
    weights = [(name, _number(_mapping(symbol).get("score", 0.0))) for name, symbol in symbols.items()]
    text = _mapping(data.get("messages")).get("smtp_message")
    return Answer(
        action=action,
        score=_number(data.get("score")),
        required=_number(data.get("required_score", 0.0)),
        symbols=tuple(sorted(weights, key=lambda pair: (-abs(pair[1]), pair[0]))),
        text=text if isinstance(text, str) else "",
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NotRspamd("a score that is no number")
    return float(value)
