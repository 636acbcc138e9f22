"""One message, field by field and line by line: what the tables say, as a verdict, edits, and copies.

Fields go to the tables as they stand, line ends inside as LF; lines of bodies without their end. Bounded: ``body_size`` octets of each part,
``body_total`` of all; the loop is given back every few hundred lines.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import re
from dataclasses import dataclass, field

from mta.model.verdict import Action
from mta.wire.mime import Entity, parse
from mta_checks.actions import BadAction, Step, read_action
from mta_checks.config import ChecksConfig
from mta_hooks import AddHeader, AddRecipient, Address, Context, Edit, Message, RemoveHeader, ReplaceHeader, SetBody, Verdict
from mta_hooks.lookup import Table

_LINE = re.compile(rb"[^\n]*\n|[^\n]+\Z")
_LONGEST = 2048
_TURN = 200
_MOST_HEADER = 2**17
"""Octets of one field that are looked at."""
_FIELD = re.compile(r"[!-9;-~]+:\s*\S")


@dataclass(slots=True)
class Found:
    """``verdict``: the first that ends all, else the last that keeps the message. ``splices``: [start, end) of the message -> octets."""

    verdict: Verdict | None = None
    edits: list[Edit] = field(default_factory=list)
    splices: list[tuple[int, int, bytes]] = field(default_factory=list)


class Inspection:
    """The work on one message."""

    def __init__(self, message: Message, ctx: Context) -> None:
        config: ChecksConfig = ctx.config
        self._ctx, self._config, self._message = ctx, config, message
        self._headers = ctx.table(config.headers)
        self._mime = ctx.table(config.mime_headers if config.mime_headers is not None else config.headers)
        self._nested = ctx.table(config.nested_headers if config.nested_headers is not None else config.headers)
        self._body = ctx.table(config.body)
        self._found = Found()
        self._asked = 0
        self._left = config.body_total

    async def run(self) -> Found:
        if all(table.empty for table in (self._headers, self._mime, self._nested, self._body)):
            return self._found
        octets = self._message.raw
        root = await self._ctx.threads.run(parse, octets) if len(octets) > 2**20 else parse(octets)
        nested = {id(entity.message) for entity in root.walk() if entity.message is not None}
        for entity in root.walk():
            top = entity is root
            if not await self._fields(octets, entity, top, top or id(entity) in nested):
                return self._found
            if not entity.children and entity.message is None and not self._body.empty and not await self._lines(octets, entity):
                return self._found
        if self._found.splices:
            self._found.edits.append(_spliced(octets, root.body_start, self._found.splices))
        return self._found

    async def _fields(self, octets: bytes, entity: Entity, top: bool, message: bool) -> bool:
        """False: nothing more is looked at."""
        seen: dict[bytes, int] = {}
        for one in entity.fields(octets):
            index = seen[one.name] = seen.get(one.name, -1) + 1
            mime = one.name.startswith(b"content-") or one.name == b"mime-version"
            table = self._mime if mime or not message else self._headers if top else self._nested
            text = (
                octets[one.start : min(one.end, one.start + _MOST_HEADER)]
                .rstrip(b"\r\n")
                .decode("utf-8", "surrogateescape")
                .replace("\r\n", "\n")
            )
            step = await self._ask(table, text)
            if step is None:
                continue
            if step.kind == "pass":
                return True
            if step.kind in ("prepend", "replace") and not _FIELD.match(step.text):
                self._wrong(step.text, f"{step.kind.upper()} takes a whole field here: Name: value")
            elif top:
                self._edit_field(step, text.partition(":")[0].strip(), index)
            else:
                self._edit_octets(step, octets, one.start, one.end)
            if step.final:
                return False
        return True

    async def _lines(self, octets: bytes, entity: Entity) -> bool:
        stop = min(entity.end, entity.body_start + min(self._config.body_size, self._left))
        self._left -= max(0, stop - entity.body_start)
        for match in _LINE.finditer(octets, entity.body_start, stop):
            text = match[0][:_LONGEST].rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            step = await self._ask(self._body, text)
            if step is None:
                continue
            if step.kind == "pass":
                return True
            whole = (
                match.end()
                if match[0].endswith(b"\n") or match.end() == entity.end
                else octets.find(b"\n", match.end(), entity.end) + 1
            )
            self._edit_octets(step, octets, match.start(), whole or entity.end)
            if step.final:
                return False
        return True

    async def _ask(self, table: Table, text: str) -> Step | None:
        """None: nothing is to be done."""
        self._asked += 1
        if not self._asked % _TURN:
            await asyncio.sleep(0)
        value = None if table.empty else await table.get(text)
        if value is None:
            return None
        shown = "".join(c if c.isprintable() else "?" for c in text)[:80]
        try:
            step = read_action(value)
        except BadAction as exc:
            self._wrong(value, str(exc))
            return None
        if step.kind == "dunno":
            return None
        name = shown.partition(":")[0] if table is not self._body else "body"
        if step.kind in ("warn", "ignore", "strip", "replace", "prepend"):
            self._ctx.log.info(
                "checks.matched",
                id=self._message.id,
                where=name[:80],
                action=step.kind,
                text=step.text[:200] if step.kind == "warn" else "",
            )
        if step.kind == "bcc":
            copy = AddRecipient(Address.parse(step.text))
            self._found.edits += [copy] * (copy not in self._found.edits)
        if step.verdict is not None and (step.final or self._found.verdict is None or step.verdict.action is Action.HOLD):
            self._found.verdict = step.verdict
        return step

    def _wrong(self, value: str, reason: str) -> None:
        self._ctx.log.error("checks.action_unknown", id=self._message.id, value=value[:200], reason=reason)

    def _edit_field(self, step: Step, name: str, index: int) -> None:
        edits = self._found.edits
        new, _, value = step.text.replace("\n", "\r\n").partition(":")  # folds of the field that $1 took along
        match step.kind:
            case "ignore" | "strip":
                edits.append(RemoveHeader(name, index))
            case "prepend":
                edits.append(AddHeader(new, value.strip()))
            case "replace" if new.lower() == name.lower():
                edits.append(ReplaceHeader(name, value.strip(), index))
            case "replace":
                edits += [RemoveHeader(name, index), AddHeader(new, value.strip(), top=False)]

    def _edit_octets(self, step: Step, octets: bytes, start: int, end: int) -> None:
        """The line end before a boundary belongs to the boundary, and stays."""
        text = step.text.replace("\r", " ").replace("\n", " ").encode("utf-8", "surrogateescape")
        match step.kind:
            case "ignore" | "strip":
                self._found.splices.append((start, end, b""))
            case "prepend":
                self._found.splices.append((start, start, text + b"\r\n"))
            case "replace":
                self._found.splices.append((start, end, text + b"\r\n" * octets.endswith(b"\n", start, end)))


def _spliced(octets: bytes, body: int, splices: list[tuple[int, int, bytes]]) -> SetBody:
    out, at = [], body
    for start, end, new in sorted(splices):
        out += [octets[at:start], new]
        at = end
    return SetBody(b"".join([*out, octets[at:]]), encoded=True)
