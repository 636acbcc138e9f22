"""Verdicts of connection and envelope hooks, as replies."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.reply import Reply
from mta.model.verdict import Action
from mta.pipeline.hooks import Decision


def refusal(decision: Decision) -> Reply | None:
    """The reply for reject and defer; None: go on."""
    verdict = decision.verdict
    return verdict.reply() if verdict is not None and verdict.action in (Action.REJECT, Action.DEFER) else None
