"""Spam checks by rspamd: each message is sent to its normal worker (``POST /checkv2``); what it answers is scored or obeyed.

Its score joins the sum of all plugins, or its action decides, as the config says; what it found is written into X-Spam fields.
An rspamd that does not answer defers the mail, or with ``on_error: continue`` lets it pass unchecked.
Left out: header edits of its milter_headers module, rewritten subjects, learning, HTTPCrypt, the proxy worker.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Sequence

from mta_hooks import AddHeader, Context, Edit, Message, Recipient, RemoveHeader, Session, TemporaryFailure, Verdict, hookimpl
from mta_hooks.services import Registry
from mta_rspamd.answer import Answer, NotRspamd, read_answer
from mta_rspamd.config import RspamdConfig
from mta_rspamd.envelope import envelope
from mta_rspamd.judge import UNCHECKED, fields, judge, judge_unchecked

roles = ("spam",)
NOTE = "rspamd"


@hookimpl
def register(registry: Registry) -> None:
    registry.config(RspamdConfig)


@hookimpl
async def message_check(session: Session, message: Message, recipients: Sequence[Recipient], ctx: Context) -> Verdict | None:
    """Raises TemporaryFailure when there is no answer that makes sense: ``on_error`` decides."""
    config: RspamdConfig = ctx.config
    if message.origin not in config.origins:
        return None
    if message.size > config.max_size:
        ctx.log.debug("rspamd.too_large", message=message.id, size=message.size)
        message.notes[NOTE] = None
        return judge_unchecked(message.size, config)
    answer = await _ask(config, session, message, recipients, ctx)
    message.notes[NOTE] = answer
    return judge(answer, config)


async def _ask(config: RspamdConfig, session: Session, message: Message, recipients: Sequence[Recipient], ctx: Context) -> Answer:
    headers = envelope(session, message, recipients, ctx.hostname)
    url = config.url.rstrip("/") + "/checkv2"
    try:
        reply = await ctx.http.request("POST", url, headers=headers, data=message.raw, timeout=config.deadline)
    except TimeoutError as exc:
        raise TemporaryFailure(f"rspamd: no answer within {config.deadline:g} s") from exc
    except OSError as exc:
        raise TemporaryFailure(f"rspamd: {exc}") from exc
    if reply.status != 200:
        raise TemporaryFailure(f"rspamd answered {reply.status}")
    try:
        return read_answer(reply.body)
    except NotRspamd as exc:
        raise TemporaryFailure(f"rspamd: {exc}") from exc


@hookimpl
def message_modify(message: Message, ctx: Context) -> list[Edit] | None:
    """Ours replace what the message came with, so that nobody's filter trusts a forgery."""
    config: RspamdConfig = ctx.config
    if NOTE not in message.notes or not config.headers:
        return None
    answer = message.notes[NOTE]
    edits: list[Edit] = [RemoveHeader(name) for name in ("X-Spam-Status", "X-Spam-Flag")]
    return [*edits, *(AddHeader(name, value) for name, value in (UNCHECKED if answer is None else fields(answer)))]
