"""Virtual domains and aliases, /etc/aliases, relay recipients and people who have moved, from tables, before the directory is asked.

Keys as in Postfix's virtual(5), aliases(5) and relocated(5): the full address, without its detail (which goes on to where the alias leads),
the name alone in ``local_domains``, ``@domain``. A domain that stands for another (``@example.org  @example.net``) goes before mailboxes of
the same name; a catch-all goes behind them. Loops are cut by the server's resolver: ``mta explain --address`` shows them. Left out: mail
into files, command lines, mailboxes from tables (accounts are the directory's).
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import Address, AliasTarget, Context, Domain, NotFound, RelayTarget, TemporaryFailure, hookimpl
from mta_hooks.lookup import address_keys, domain_keys, open_tables
from mta_hooks.services import Registry
from mta_virtual.config import VirtualConfig
from mta_virtual.targets import INCLUDE, BadTarget, checked, read_included, split_targets

TABLES = ("domains", "relay_domains", "aliases", "files", "relay_recipients", "relocated")


class Virtual:
    """The plugin."""

    roles = ("aliases",)

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(VirtualConfig)

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        await open_tables(ctx, TABLES)

    @hookimpl
    async def domain_lookup(self, domain: str, ctx: Context) -> Domain | None:
        config: VirtualConfig = ctx.config
        if await ctx.table(config.domains).get(domain) is not None:
            return Domain(domain)
        if await ctx.table(config.aliases).find([domain], whole=False) is not None:
            return Domain(domain)
        if await ctx.table(config.relay_domains).find(list(domain_keys(domain))) is not None:
            return Domain(domain, "relay")
        return None

    @hookimpl
    async def alias_expand(self, address: Address, ctx: Context) -> AliasTarget | None:
        config: VirtualConfig = ctx.config
        aliases = ctx.table(config.aliases)
        if not address.local:
            value = await aliases.find([f"@{address.domain}"], whole=False)
            return None if value is None or value.startswith("@") else await _target(value, address, ctx)
        name = _name(address)
        value = await aliases.get(f"{name}@{address.domain}")
        if value is None and _is_local(address, ctx):
            value = await aliases.find([name], whole=False)
            if value is None and (value := await ctx.table(config.files).get(name)) is not None:
                return await _target(value, address, ctx, include=True)
        if value is not None:
            return await _target(value, address, ctx)
        other = await aliases.find([f"@{address.domain}"], whole=False)
        base, plus, _ = name.partition("+")
        if other is not None and other.startswith("@") and not (plus and await aliases.get(f"{base}@{address.domain}")):
            return AliasTarget((str(address).removesuffix(f"@{address.domain}") + other.strip().lower(),))
        return None

    @hookimpl
    async def recipient_lookup(self, address: Address, ctx: Context) -> RelayTarget | NotFound | None:
        config: VirtualConfig = ctx.config
        moved = ctx.table(config.relocated)
        if not moved.empty:
            keys = [f"{_name(address)}@{address.domain}"]
            if address.local and _is_local(address, ctx):
                keys.append(_name(address))
            if (where := await moved.find(keys)) is not None:
                return NotFound(f"user has moved to {_printable(where)}", config.relocated_code, "5.1.6")
        relayed = ctx.table(config.relay_recipients)
        if relayed.empty or await ctx.table(config.relay_domains).find(list(domain_keys(address.domain))) is None:
            return None
        if not address.local:
            return NotFound()
        keys = address_keys(address)
        return RelayTarget(address) if await relayed.find(keys) is not None else None


def _name(address: Address) -> str:
    """The local part as a key: in lower case, quoted where it has to be."""
    return str(address)[: -len(address.domain) - 1].lower() if address.local and address.domain else address.local.lower()


def _is_local(address: Address, ctx: Context) -> bool:
    return address.domain in (ctx.config.local_domains or (ctx.hostname,)) or not address.domain


async def _target(value: str, address: Address, ctx: Context, *, include: bool = False) -> AliasTarget:
    """Raises TemporaryFailure when nothing is left that mail could go to: a mistake of ours, and the peer keeps the message."""
    items: list[str] = []
    for item in split_targets(value):
        try:
            if include and item.startswith(INCLUDE):
                items += map(checked, await ctx.threads.run(read_included, item.removeprefix(INCLUDE).strip()))
            else:
                items.append(checked(item))
        except (OSError, BadTarget) as exc:
            ctx.log.error("virtual.target_refused", address=str(address), target=item[:200], reason=str(exc))
    if not items:
        raise TemporaryFailure(f"{address}: the alias leads nowhere: {value[:200]}")
    return AliasTarget(tuple(items), details=True)


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:400]
