"""What an address stands for, as a graph: the same resolver's answer, and the aliases, details and catch-alls that lead to it."""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Mapping
from typing import Any

from mta.app.explained import hop_text
from mta.app.rehearsal import Rehearsal
from mta.directory.resolve import candidates
from mta.model.address import Address
from mta.model.directory import AliasTarget, HookTarget, MailboxTarget, NotFound, RelayTarget
from mta.model.errors import TemporaryFailure
from mta.model.ids import QueueId
from mta.pipeline.transaction import MailTransaction
from mta.route.router import Router

_MOST = 1000


async def graph(rehearsal: Rehearsal, address: Address) -> dict[str, Any]:
    """JSON-able: {"address", "nodes": [{"address", "kind", "via", "to"}], "mailboxes", "remote", "refusal"}."""
    out: dict[str, Any] = {"address": str(address), "nodes": [], "mailboxes": [], "remote": [], "refusal": ""}
    walk = _Walk(rehearsal)
    try:
        address = await walk.rewritten(address)
        await walk.add(address, ())
        resolution = await rehearsal.resolver.resolve(address)
    except TemporaryFailure as exc:
        return {**out, "nodes": walk.nodes, "refusal": f"451 4.3.0 for now: {exc}"}
    router = Router(rehearsal.config, rehearsal.hooks)
    out["nodes"] = walk.nodes
    for target in resolution.local:
        kind = "mailbox" if isinstance(target, MailboxTarget) else "hook"
        out["mailboxes"].append({"address": str(target.address), "kind": kind})
    for remote in resolution.remote:
        try:
            hop = hop_text(await router.route(None, remote), remote)
        except TemporaryFailure as exc:
            hop = f"unknown for now: {exc}"
        out["remote"].append({"address": str(remote), "next_hop": hop, "ours": resolution.is_ours})
    out["refusal"] = str(resolution.refusal) if resolution.refusal is not None else ""
    return out


class _Walk:
    """Each address once, with every word that the directory has for it."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self._seen: set[str] = set()
        self.nodes: list[dict[str, Any]] = []

    async def rewritten(self, address: Address) -> Address:
        """What ``address_rewrite`` makes of it when it is a recipient."""
        plan = self._rehearsal.hooks.address_rewrite
        if plan is None:
            return address
        transaction = MailTransaction(QueueId("explain"), "smtp", None, {})
        made: Address = await plan.pipeline("address", address=address, role="envelope_recipient", transaction=transaction)
        if made != address:
            self._node(address, "rewritten", "", (str(made),))
        return made

    async def add(self, address: Address, path: tuple[str, ...]) -> None:
        name = str(address).lower()
        if name in self._seen or len(self.nodes) >= _MOST:
            return
        self._seen.add(name)
        domain = await self._rehearsal.resolver.is_ours(address.domain)
        if domain is None:
            self._node(address, "remote", "", ())
            return
        for candidate, detail in candidates(address):
            via = "" if candidate == address else "catch-all" if not candidate.local else f"without +{detail}"
            target = await self._ask(candidate, path)
            if target is None:
                continue
            await self._take(address, candidate, via, target, path)
            return
        if domain.kind == "relay":
            self._node(address, "relay domain", "", ())
        else:
            self._node(address, "postmaster" if address.local.lower() == "postmaster" else "dead end", "", ())

    async def _ask(self, candidate: Address, path: tuple[str, ...]) -> Any:
        hooks = self._rehearsal.hooks
        if hooks.alias_expand is not None and str(candidate).lower() not in path:
            answer = await hooks.alias_expand.first(address=candidate)
            if answer is not None:
                return answer
        return await hooks.recipient_lookup.first(address=candidate) if hooks.recipient_lookup is not None else None

    async def _take(self, address: Address, candidate: Address, via: str, target: Any, path: tuple[str, ...]) -> None:
        match target:
            case MailboxTarget():
                self._node(address, "mailbox", via, (str(target.address),))
            case HookTarget():
                self._node(address, "deliver hook", via, (str(target.address),))
            case RelayTarget():
                self._node(address, "relay", via, (str(target.address),))
            case NotFound():
                self._node(address, f"refused: {target.text}", via, ())
            case AliasTarget():
                await self._follow(address, candidate, via, target, path)

    async def _follow(self, address: Address, candidate: Address, via: str, target: AliasTarget, path: tuple[str, ...]) -> None:
        path = (*path, str(candidate).lower())
        found: list[Address] = []
        words: list[str] = []
        for text in target.targets:
            if text.startswith("|"):
                words.append(f"{text} (program)")
                continue
            try:
                found.append(Address.parse(text if "@" in text else f"{text}@{address.domain}"))
            except ValueError:
                words.append(f"{text} (malformed)")
                continue
            known = str(found[-1]).lower()
            words.append(
                f"{found[-1]} (itself)" if known == path[-1] else f"{found[-1]} (loop)" if known in path else str(found[-1])
            )
        self._node(address, "alias", via, words)
        for one in found:
            if str(one).lower() == path[-1]:
                own = await self._ask(one, path)
                if isinstance(own, MailboxTarget):
                    self._node(one, "mailbox", "itself", (str(own.address),))
                continue
            await self.add(one, path)

    def _node(self, address: Address, kind: str, via: str, to: Any) -> None:
        self.nodes.append({"address": str(address), "kind": kind, "via": via, "to": list(to)})


def graph_lines(said: Mapping[str, Any]) -> list[str]:
    """The same as text."""
    out = []
    for node in said["nodes"]:
        via = f" ({node['via']})" if node["via"] else ""
        out.append(f"{node['address']}{via}: {node['kind']}" + (f" -> {', '.join(node['to'])}" if node["to"] else ""))
    out.append("")
    out += [f"{one['kind']}: {one['address']}" for one in said["mailboxes"]]
    out += [f"remote: {one['address']} -> {one['next_hop']}" for one in said["remote"]]
    if said["refusal"]:
        out.append(f"refused: {said['refusal']}")
    return out
