"""VERP: a return path of its own for each recipient, so that a bounce says who does not get the mail any more.

    news@example.org to bob@example.net  ->  news+bob=example.net@example.org

Done on the way out, for senders that a table names; each recipient is then a transaction of its own. What comes back goes to the sender's
mailbox, whose "+detail" is the recipient. A return path that would be longer than a local part may be (64 octets) stays as it is.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.delivery import DeliveryPolicy
from mta_hooks import Address, Context, Envelope, SetSender, hookimpl
from mta_hooks.lookup import address_keys, open_tables
from mta_hooks.services import Registry
from mta_verp.config import VerpConfig

_SUBMITTED = ("submission", "local", "http")
_LONGEST = 64


@hookimpl
def register(registry: Registry) -> None:
    registry.config(VerpConfig)


@hookimpl
async def startup(ctx: Context) -> None:
    await open_tables(ctx, ("senders",))


@hookimpl
async def delivery_policy(envelope: Envelope, ctx: Context) -> DeliveryPolicy | None:
    """Another plugin that has a policy for this site goes first when it is listed first; then recipients share a return path."""
    return DeliveryPolicy(recipients=1) if len(envelope.recipients) > 1 and await _wanted(envelope, ctx) else None


@hookimpl(after="srs")
async def delivery_modify(envelope: Envelope, ctx: Context) -> SetSender | None:
    if len(envelope.recipients) != 1 or envelope.sender is None or not await _wanted(envelope, ctx):
        return None
    made = return_path(envelope.sender, envelope.recipients[0], ctx.config.delimiters)
    return None if made is None else SetSender(made)


async def _wanted(envelope: Envelope, ctx: Context) -> bool:
    config: VerpConfig = ctx.config
    if envelope.sender is None or (config.locals and envelope.origin not in _SUBMITTED):
        return False
    value = await ctx.table(config.senders).find(address_keys(envelope.sender))
    return value is not None and value.strip().lower() not in ("no", "off", "")


def return_path(sender: Address, recipient: Address, delimiters: str = "+=") -> Address | None:
    """None when it does not fit, or would be no address."""
    made = Address(f"{sender.local}{delimiters[0]}{recipient.local}{delimiters[1]}{recipient.domain}", sender.domain)
    return made if len(made.local.encode("utf-8", "surrogatepass")) <= _LONGEST and made.is_sound else None
