"""Finds messages that readers understand differently, tells filters and people, and refuses them where the config says so.

Asked of mail from outside, before other checks: what is found is in ``message.notes["mimefaults"]``, in a header field, and in the trace.
"""
# SPDX-License-Identifier: Apache-2.0

from collections import Counter
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mta_hooks import AddHeader, Context, Message, RemoveHeader, Verdict, add_score, hookimpl, reject
from mta_hooks.metrics import Metric
from mta_hooks.services import Registry
from mta_mimefaults.faults import FAULTS, find

_OUTSIDE = frozenset({"smtp", "lmtp"})
_LARGE = 2**18
"""Octets from which a message is looked at in a thread."""
Fault = Literal[
    "double-field", "double-parameter", "encoding", "base64", "boundary", "open-multipart", "names-differ", "assembled"
]  # fmt: skip


class MimefaultsConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    header: Annotated[
        str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,60}$", description="Field that names the faults; those of others go.")
    ] = "X-MIME-Faults"
    score: Annotated[float, Field(ge=0, le=100, description="Added once for a message with faults.")] = 2.0
    refuse: Annotated[tuple[Fault, ...], Field(description="Faults for which a message is refused.")] = ()
    largest: Annotated[int, Field(ge=65536, description="Larger messages are not looked at; the field then says so.")] = 32 * 2**20


class Mimefaults:
    """The plugin. It holds what this worker has counted."""

    roles = ("mimefaults",)

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()

    @hookimpl
    def register(self, registry: Registry) -> None:
        registry.config(MimefaultsConfig)
        registry.metrics(self.numbers)

    @hookimpl(on_error="continue", before=("rspamd", "spamassassin"))
    async def message_check(self, message: Message, ctx: Context) -> Verdict | None:
        config: MimefaultsConfig = ctx.config
        if message.origin not in _OUTSIDE:
            return None
        if message.size > config.largest:
            message.notes["mimefaults"] = ["not-looked-at"]
            return None
        octets = message.raw
        found = find(octets) if len(octets) < _LARGE else await ctx.threads.run(find, octets)
        message.notes["mimefaults"] = found
        if not found:
            return None
        self._found.update(found)
        said = ", ".join(found)
        if refused := [name for name in found if name in config.refuse]:
            return reject(f"malformed MIME: {FAULTS[refused[0]]}", enhanced="5.6.0", reason=said)
        return add_score(config.score, reason=said) if config.score else None

    @hookimpl(on_error="continue")
    def message_modify(self, message: Message, ctx: Context) -> list[AddHeader | RemoveHeader] | None:
        if (found := message.notes.get("mimefaults")) is None:
            return None
        name: str = ctx.config.header
        edits: list[AddHeader | RemoveHeader] = [RemoveHeader(name)] if message.header(name) is not None else []
        if found:
            edits.append(AddHeader(name, ", ".join(found)))
        return edits or None

    def numbers(self, _ctx: Context) -> list[Metric]:
        help = "Messages from outside, by fault."
        return [Metric("found_total", count, help=help, labels={"fault": fault}) for fault, count in sorted(self._found.items())]


__all__ = ["Mimefaults"]
