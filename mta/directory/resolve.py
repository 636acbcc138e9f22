"""Who finally receives an address: aliases, plus-addressing, catch-all, relay domains (RFC 5321 §3.4, RFC 5233).

For an address of a domain of ours the candidates are asked in this order, the most specific first: the full address, the
address without "+detail", the catch-all ``@domain``. Each candidate is asked as an alias, then as a recipient. An alias that
names itself (``bob: bob, carol``) means the mailbox behind it; other loops are cut. Left out: rewriting of addresses that are
not ours, and the decision whether a client may relay to them.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol
from unicodedata import normalize

from mta.model.address import Address
from mta.model.directory import AliasTarget, Domain, HookTarget, MailboxTarget, NotFound, RelayTarget, Target
from mta.model.errors import TemporaryFailure
from mta.model.pipe import pipe_address, program_of
from mta.model.reply import Reply
from mta.obs.log import Log

MAX_DEPTH = 10  # aliases of aliases; deeper is a mistake, not an organisation
MAX_TARGETS = 1000  # addresses one RCPT may stand for: bounds the work and the transaction behind one command

_LOOP = Reply(550, "5.4.6", "address loops")


class First(Protocol):
    """A compiled hook of mode "first answer"."""

    async def first(self, **arguments: Any) -> Any: ...


class ResolveHooks(Protocol):
    """The hooks that resolution asks; an attribute is None when nobody implements it."""

    @property
    def domain_lookup(self) -> First | None: ...
    @property
    def alias_expand(self) -> First | None: ...
    @property
    def recipient_lookup(self) -> First | None: ...


@dataclass(frozen=True, slots=True)
class Resolution:
    """What one address stands for.

    local    mailboxes and hook targets, no account twice
    remote   addresses that another server takes: alias targets elsewhere, relay domains, or the address itself when not ours
    refusal  what to answer instead when nobody receives: 550 5.1.1, or 550 5.4.6 for a loop
    is_ours  the address's own domain is ours, local or relay
    """

    local: tuple[MailboxTarget | HookTarget, ...] = ()
    remote: tuple[Address, ...] = ()
    refusal: Reply | None = None
    is_ours: bool = True


class Resolver:
    """Resolves addresses through the hooks. Holds no state between calls, so directory changes are seen at once."""

    def __init__(
        self, hooks: ResolveHooks, config_domains: frozenset[str], log: Log, hostname: str = "", postmaster: str | None = None
    ) -> None:
        self._hooks = hooks
        self._log = log
        self._home = hostname
        self._default = None if postmaster is None else Address.parse(postmaster)
        self._fixed = {name: Domain(name) for name in sorted(config_domains | ({hostname} if hostname else set()))}

    async def is_ours(self, domain: str) -> Domain | None:
        """The domain when we are responsible for it; "" (bare postmaster, RFC 5321 §4.5.1) is. Raises TemporaryFailure."""
        if not domain:
            return Domain(self._home)
        if (known := self._fixed.get(domain)) is not None:
            return known
        if (plan := self._hooks.domain_lookup) is None:
            return None
        answer = await plan.first(domain=domain)
        return answer if isinstance(answer, Domain) else None

    async def resolve(self, address: Address) -> Resolution:
        """Raises TemporaryFailure when a hook failed, or when an alias stands for more than the bounds allow."""
        domain = await self.is_ours(address.domain)
        if domain is None:
            return Resolution(remote=(address,), is_ours=False)
        expansion = _Expansion(self, self._hooks, self._log, address)
        await expansion.add(address, domain, ())
        if not expansion.found and not expansion.looped and address.local.lower() == "postmaster":
            await self._postmaster(expansion, address)
        found = expansion.resolution()
        if found.refusal is None or address.local.isascii() or (composed := normalize("NFC", address.local)) == address.local:
            return found
        return await self.resolve(Address(composed, address.domain))  # RFC 6532 §3.1: written in pieces, it is the same name

    async def _postmaster(self, expansion: "_Expansion", address: Address) -> None:
        """RFC 5321 §4.5.1: every domain of ours has a postmaster; without one of its own, the machine's, or whom the config names."""
        homes = ([self._home] if self._home else []) + list(self._fixed)
        for name in homes:
            if name != address.domain and not expansion.found:
                await expansion.add(Address("postmaster", name), self._fixed[name], ())
        if self._default is not None and self._default != address and not expansion.found:
            await expansion.stand_for(self._default)


class _Expansion:
    """The work of one ``resolve``."""

    def __init__(self, resolver: Resolver, hooks: ResolveHooks, log: Log, origin: Address) -> None:
        self._resolver, self._hooks, self._log, self._origin = resolver, hooks, log, origin
        self._local: dict[object, MailboxTarget | HookTarget] = {}
        self._remote: dict[Address, None] = {}
        self._visited: set[tuple[str, str]] = set()
        self._refusal: Reply | None = None
        self.looped = False

    @property
    def found(self) -> int:
        return len(self._local) + len(self._remote)

    def resolution(self) -> Resolution:
        if self.found:
            return Resolution(tuple(self._local.values()), tuple(self._remote))
        return Resolution(refusal=_LOOP if self.looped else self._refusal or Reply(550, "5.1.1", "no such user here"))

    async def add(self, address: Address, domain: Domain, path: tuple[tuple[str, str], ...]) -> None:
        """Resolve one address of ours; ``path`` holds the aliases that led here."""
        for candidate, detail in candidates(address):
            key = (candidate.local.lower(), candidate.domain)
            aliased = key not in path  # an alias below itself means the mailbox
            target = await self._ask(candidate, aliased)
            if target is None:
                continue
            if isinstance(target, MailboxTarget) and detail and not target.detail:
                target = replace(target, detail=detail)
            elif isinstance(target, AliasTarget) and detail and target.details:
                target = AliasTarget(tuple(_detailed(text, detail) for text in target.targets))
            await self._take(address, key, target, path)
            return
        if domain.kind == "relay":
            self._remote[address] = None
        elif path and (address.local.lower(), address.domain) in path:
            self.looped = True
        elif path:
            self._log.warning("alias.target_unknown", address=str(self._origin), target=str(address))

    async def stand_for(self, target: Address) -> None:
        domain = await self._resolver.is_ours(target.domain)
        if domain is None:
            self._remote[target] = None
        else:
            await self.add(target, domain, ())

    async def _ask(self, candidate: Address, aliased: bool) -> Target | None:
        if aliased and (plan := self._hooks.alias_expand) is not None:
            answer: Target | None = await plan.first(address=candidate)
            if answer is not None:
                return answer
        if (plan := self._hooks.recipient_lookup) is None:
            return None
        answer = await plan.first(address=candidate)
        return answer if aliased or not isinstance(answer, AliasTarget) else None

    async def _take(self, address: Address, key: tuple[str, str], target: Target, path: tuple[tuple[str, str], ...]) -> None:
        match target:
            case MailboxTarget():
                self._local.setdefault(target.user, target)
            case HookTarget():
                self._local.setdefault(target.address, target)
            case RelayTarget():
                self._remote[target.address] = None
            case NotFound():
                self._refusal = Reply(target.code, target.enhanced, target.text)
            case AliasTarget():
                await self._expand(address, key, target, path)

    async def _expand(self, address: Address, key: tuple[str, str], alias: AliasTarget, path: tuple[tuple[str, str], ...]) -> None:
        if key in self._visited:  # reached by another branch already: its targets are in
            return
        self._visited.add(key)
        if len(path) >= MAX_DEPTH:
            self._refuse("alias.too_deep", limit=MAX_DEPTH)
        path = (*path, key)
        for text in alias.targets:
            if text.startswith("|"):
                self._program(text, address)
                continue
            try:
                target = Address.parse(text if "@" in text else f"{text}@{address.domain}")
            except ValueError as exc:
                self._log.warning("alias.target_malformed", address=str(self._origin), target=text, problem=str(exc))
                continue
            domain = await self._resolver.is_ours(target.domain)
            if domain is None:
                self._remote[target] = None
            else:
                await self.add(target, domain, path)
            if self.found > MAX_TARGETS:
                self._refuse("alias.too_many_targets", limit=MAX_TARGETS)

    def _program(self, text: str, address: Address) -> None:
        try:
            target = HookTarget(pipe_address(program_of(text), address))
        except ValueError as exc:
            self._log.warning("alias.target_malformed", address=str(self._origin), target=text, problem=str(exc))
            return
        self._local.setdefault(target.address, target)

    def _refuse(self, event: str, limit: int) -> None:
        """A mistake of ours, which the operator can mend while the peer keeps the message."""
        self._log.error(event, address=str(self._origin), limit=limit)
        raise TemporaryFailure(f"{event}: {self._origin}: more than {limit}")


def _detailed(target: str, detail: str) -> str:
    """The target with this detail, unless it has one, or is a program or quoted."""
    local, at, domain = target.rpartition("@") if "@" in target else (target, "", "")
    return target if "+" in local or target.startswith(("|", '"')) else f"{local}+{detail}{at}{domain}"


def candidates(address: Address) -> Iterator[tuple[Address, str]]:
    """Who is asked for, most specific first: (address, what stood behind the "+")."""
    yield address, ""
    base, plus, detail = address.local.partition("+")
    if plus and base:
        yield Address(base, address.domain), detail
    if address.local:
        yield Address("", address.domain), ""
