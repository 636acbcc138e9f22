"""Spam checks by SpamAssassin: each message is shown to spamd (SPAMC/1.5, ``SYMBOLS``); its score joins the sum, or its word decides.

spamd reads client, HELO and sender from trace fields, which a message has only after acceptance; so it is shown one with them.
A spamd that does not answer defers the mail, or with ``on_error: continue`` lets it pass unchecked.
Left out: preferences of each recipient, rewritten messages, learning (TELL), TLS and compression to spamd.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import AddHeader, Context, Edit, Message, RemoveHeader, Session, TemporaryFailure, Verdict, hookimpl
from mta_hooks.services import Registry
from mta_spamassassin.config import SpamassassinConfig
from mta_spamassassin.judge import UNCHECKED, fields, judge, judge_unchecked
from mta_spamassassin.spamd import NotSpamd, ask
from mta_spamassassin.trace import trace_fields

roles = ("spam",)
NOTE = "spamassassin"


@hookimpl
def register(registry: Registry) -> None:
    registry.config(SpamassassinConfig)


@hookimpl
async def message_check(session: Session, message: Message, ctx: Context) -> Verdict | None:
    """Raises TemporaryFailure when there is no answer that makes sense: ``on_error`` decides."""
    config: SpamassassinConfig = ctx.config
    if message.origin not in config.origins:
        return None
    if message.size > config.max_size:
        ctx.log.debug("spamassassin.too_large", message=message.id, size=message.size)
        message.notes[NOTE] = None
        return judge_unchecked(message.size, config)
    shown = trace_fields(session, message, ctx.hostname, ctx.clock.now())
    try:
        answer = await ask(config.place, shown, message.raw, user=config.user, deadline=config.deadline)
    except TimeoutError as exc:
        raise TemporaryFailure(f"spamd: no answer within {config.deadline:g} s") from exc
    except (OSError, NotSpamd) as exc:
        raise TemporaryFailure(f"spamd: {exc}") from exc
    message.notes[NOTE] = answer
    return judge(answer, config.spam)


@hookimpl
def message_modify(message: Message, ctx: Context) -> list[Edit] | None:
    """Ours replace what the message came with, so that nobody's filter trusts a forgery."""
    config: SpamassassinConfig = ctx.config
    if NOTE not in message.notes or not config.headers:
        return None
    answer = message.notes[NOTE]
    edits: list[Edit] = [RemoveHeader(name) for name in ("X-Spam-Status", "X-Spam-Flag")]
    return [*edits, *(AddHeader(name, value) for name, value in (UNCHECKED if answer is None else fields(answer)))]
