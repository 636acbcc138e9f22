"""What config ``queue`` says for some destinations, and for some answers: entries of its tables."""
# SPDX-License-Identifier: Apache-2.0

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mta.config.units import Rate, Seconds
from mta.model.domain import normalise

_ANSWER = re.compile(r"4\d\d|4(\.\d{1,3}){1,2}|4xx")


class RetryRule(BaseModel):
    """How long and how often to try. What is absent holds as without the rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retry: Annotated[tuple[Annotated[Seconds, Field(ge=1)], ...] | None, Field(min_length=1)] = None
    lifetime: Annotated[Seconds, Field(ge=0)] | None = None
    delay_warning: Annotated[Seconds, Field(ge=0)] | None = None


class SiteRule(RetryRule):
    """Of one destination, or of all whose domain or mail server the pattern names: these share ``concurrency`` and ``rate``."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] | None = None
    rate: Annotated[Rate, Field(gt=0)] | None = None


def _pattern(text: str) -> str:
    """Raises ValueError."""
    if text == "*":
        return text
    star, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    if "*" in name:
        raise ValueError(f"{text!r}: a pattern is a name, *.name or *")
    return star + normalise(name)


def _answer(text: str) -> str:
    """Raises ValueError."""
    if not _ANSWER.fullmatch(text):
        raise ValueError(f"{text!r}: write a reply code (451) or the beginning of an enhanced one (4.7, 4.4.1)")
    return text


SitePattern = Annotated[str, AfterValidator(_pattern)]
AnswerPattern = Annotated[str, AfterValidator(_answer)]
