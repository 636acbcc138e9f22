"""``mta hooks run``, and what ``mta hooks replay --with`` does: hooks tried on one message, and on the mail that is stored."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import click

from mta.app.backtest import Count, compare, stored
from mta.app.explained import answer_text, shown
from mta.app.rehearsal import Envelope, Rehearsal, look_on, rehearse
from mta.app.tryout import try_hook, tryout_lines
from mta.cli.access import ADDRESS
from mta.cli.explain import message_of, prepared, say
from mta.cli.output import json_option, progress, stamp
from mta.config.load import LoadedConfig
from mta.model.address import Address
from mta.model.errors import ConfigError
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.dropin import DropIns
from mta.pluginhost.specs import SPECS


@click.command()
@click.argument("hook", metavar="HOOK")
@click.option("--to", "recipients", multiple=True, type=ADDRESS, required=True, help="Recipient; may be given more than once.")
@click.option("--from", "sender", default="", help="Envelope sender; absent: the null sender.")
@click.option("--client-ip", default="127.0.0.1", show_default=True, help="Address that the client comes from.")
@click.option("--user", default="", help="Account that has logged in.")
@click.option("--dns", is_flag=True, help="Let plugins look up names; without it every look-up fails.")
@click.argument("file", type=click.File("rb"), default="-")
@json_option
@click.pass_context
def run(ctx: click.Context, /, hook: str, file: IO[bytes], dns: bool, as_json: bool, **given: Any) -> None:
    """Call one hook on a message and print what each implementation said. Nothing is stored, nothing is sent.

    FILE is the message, standard input when absent.

    Example: mta hooks run deliver --to support@example.com < mail.eml
    """
    if hook not in SPECS or SPECS[hook].mode == "load":
        raise click.ClickException(f"no hook {hook} that can be called; mta hooks list shows them")
    config = prepared(ctx)
    recipients = [str(one) for one in given["recipients"]]
    envelope = Envelope(given["sender"], recipients, client_ip=given["client_ip"], user=given["user"])
    message = message_of(file, envelope.sender, recipients[0])

    async def work() -> dict[str, Any]:
        async with rehearse(config, dns=dns) as rehearsal:
            return await try_hook(rehearsal, hook, envelope, message)

    say(asyncio.run(work()), as_json, lambda said: [shown(line) for line in tryout_lines(said, answer_text)])


def backtest(ctx: click.Context, plugin: str, as_json: bool, given: Mapping[str, Any]) -> None:
    """Print what would differ. ``given``: since, sender, recipient, dns, limit. Raises ConfigError for a plugin that cannot run."""
    differing, count = asyncio.run(_replay(prepared(ctx), plugin, given))
    if as_json:
        about = {"replayed": count.replayed, "passed_over": count.passed_over, "differing": differing}
        click.echo(json.dumps(about, ensure_ascii=False, indent=1))
        return
    for one in differing:
        click.echo(shown(f"{one['id']}  {stamp(one['at'])}  from <{one['from']}>  to {one['to']}  in {one['folder']}"))
        for key, (before, after) in one["differs"].items():
            click.echo(shown(f"    {key}: {_value(before)} -> {_value(after)}"))
    click.echo(f"{count.replayed} messages replayed, {len(differing)} would differ, {count.passed_over} passed over.")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


async def _replay(config: LoadedConfig, plugin: str, given: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Count]:
    file = Path(plugin) if plugin.endswith(".py") else None
    listed = file is None and plugin in config.config.plugins
    present = Rehearsal(config, dns=given["dns"])
    candidate = Rehearsal(_with(config, plugin, file, listed), dns=given["dns"])
    if not given["dns"]:
        candidate.caught.guard(config.config.database)
    for rehearsal in (present, candidate):
        rehearsal.load()
    if file is not None:
        _add(candidate, file)
    elif (failed := candidate.hooks.failed.get(plugin)) is not None:
        raise ConfigError("(command line)", plugin, failed.reason, "mta plugins doctor says more.")
    async with look_on(config, present.hooks) as database:
        for rehearsal in (present, candidate):
            await rehearsal.open(database)
        try:
            name = plugin if file is None else file.stem
            differing: list[dict[str, Any]] = []
            count, tell = Count(), _Progress()
            async for one in stored(database, config.config.hostname, given["since"], count):
                tell(count)
                if not _wanted(one.envelope, given["sender"], given["recipient"]):
                    continue
                count.replayed += 1
                found = await compare(one, present, candidate, name, against_trace=listed)
                if found is not None:
                    differing.append(found)
                if len(differing) >= given["limit"]:
                    break
        finally:
            for rehearsal in (present, candidate):
                await rehearsal.close()
    return differing, count


class _Progress:
    """Once a second, for who waits longer; the total is that of the mailboxes seen so far."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __call__(self, count: Count) -> None:
        if time.monotonic() - self._told > 1.0:
            self._told = time.monotonic()
            progress(count.total, "replayed")(count.seen)


def _with(config: LoadedConfig, plugin: str, file: Path | None, listed: bool) -> LoadedConfig:
    """The config with a plugin that it does not list."""
    if file is not None or listed:
        return config
    plugins = {**config.config.plugins, plugin: {}}
    return replace(config, config=config.config.model_copy(update={"plugins": plugins}))


def _add(rehearsal: Rehearsal, file: Path) -> None:
    try:
        DropIns(rehearsal.hooks, str(file.absolute().parent)).add(file.stem)
    except PluginRefused as exc:
        where = f"{exc.file}:{exc.line}" if exc.line else str(file)
        raise ConfigError(where, file.stem, exc.problem, "mend the file.") from exc


def _wanted(envelope: Envelope, sender: Address | None, recipient: Address | None) -> bool:
    if sender is not None and str(sender).lower() != envelope.sender.lower():
        return False
    return recipient is None or str(recipient).lower() == envelope.recipients[0].lower()
