"""Points in time on the command line: how long ago, or a date."""
# SPDX-License-Identifier: Apache-2.0

import time
from datetime import datetime
from typing import Any

import click

from mta.config.units import parse_seconds


class WhenParam(click.ParamType[float]):
    """``2h``, ``7d``: so long ago; ``2026-11-01``, ``2026-11-01T08:30``: local time unless it says otherwise."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass
        try:
            ago = parse_seconds(value)
        except ValueError:
            ago = None
        if not isinstance(ago, int | float):
            self.fail(f"{value!r} is neither a time ago such as 2h or 7d nor a date such as 2026-11-01", param, ctx)
        return time.time() - float(ago)


WHEN = WhenParam()
