"""``mta explain``."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import json
import pwd
import sys
from collections.abc import Mapping
from typing import IO, Any

import click

from mta.app.explained import explain as explained
from mta.app.explained import lines_of
from mta.app.rehearsal import Envelope, Rehearsal, rehearse
from mta.app.resolution import graph, graph_lines
from mta.cli.access import ADDRESS, loaded
from mta.cli.output import json_option
from mta.config.load import LoadedConfig
from mta.model.address import Address
from mta.obs import log as obs_log
from mta.pluginhost import environment

MADE_UP = (
    b"From: <%s>\r\nTo: <%s>\r\nSubject: mta explain\r\nMessage-ID: <explain@invalid>\r\nDate: %s\r\n\r\nA made-up message.\r\n"
)


@click.command()
@click.option("--from", "sender", default="", help="Envelope sender; absent: the null sender.")
@click.option("--to", "recipients", multiple=True, type=ADDRESS, help="Recipient; may be given more than once.")
@click.option("--client-ip", default="127.0.0.1", show_default=True, help="Address that the client comes from.")
@click.option("--helo", default="client.invalid", show_default=True, help="Name in EHLO.")
@click.option("--user", default="", help="Account that has logged in; with --door local: name of the Unix account.")
@click.option(
    "--door", type=click.Choice(["smtp", "submission", "lmtp", "local"]), default="smtp", show_default=True, help="The way in."
)
@click.option("--tls", is_flag=True, help="The session is under TLS; implied by --user.")
@click.option("--dns", is_flag=True, help="Let plugins look up names; without it every look-up fails.")
@click.option("--address", type=ADDRESS, help="Show what this address stands for, and nothing else.")
@click.argument("file", type=click.File("rb"), required=False)
@json_option
@click.pass_context
def explain(ctx: click.Context, /, file: IO[bytes] | None, as_json: bool, **given: Any) -> None:
    """What would happen to a message: replies, verdicts, edits, next hop, folder. Nothing is stored, nothing is sent.

    FILE is the message, - for standard input; absent: a made-up one. Plugins, drop-in hooks and programs of the config run; what they
    would write or send is caught and shown. Works while the server runs, and before its first start.

    Example: mta explain --from bob@example.org --to alice@example.com --client-ip 192.0.2.1 message.eml
    """
    config = prepared(ctx)
    if given["address"] is not None:
        say(asyncio.run(_graph(config, given["address"], given["dns"])), as_json, graph_lines)
        return
    envelope = envelope_of(given)
    message = message_of(file, envelope.sender, envelope.recipients[0])
    say(asyncio.run(_explain(config, envelope, message, given["dns"])), as_json, lines_of)


def envelope_of(given: Mapping[str, Any]) -> Envelope:
    """What the options say. Raises UsageError."""
    if not given["recipients"]:
        raise click.UsageError("give --to, or --address.")
    return Envelope(
        sender=given["sender"],
        recipients=[str(one) for one in given["recipients"]],
        client_ip=given["client_ip"],
        helo=given["helo"],
        user=given["user"],
        door=given["door"],
        tls=given["tls"],
        uid=_uid(given["user"]) if given["door"] == "local" else 0,
    )


def prepared(ctx: click.Context) -> LoadedConfig:
    """The config, with the plugin environment in place and the log kept to errors."""
    config = loaded(ctx)
    obs_log.configure("error")
    environment.use(config.config.data_dir)
    return config


def say(said: Any, as_json: bool, lines: Any) -> None:
    click.echo(json.dumps(said, ensure_ascii=False, indent=1, default=str) if as_json else "\n".join(lines(said)))


async def _explain(config: LoadedConfig, envelope: Envelope, message: bytes, dns: bool) -> dict[str, Any]:
    async with rehearse(config, dns=dns) as rehearsal:
        return await explained(rehearsal, await rehearsal.run(envelope, message), message)


async def _graph(config: LoadedConfig, address: Address, dns: bool) -> dict[str, Any]:
    async with rehearse(config, dns=dns) as rehearsal:
        return await graph(rehearsal, address)


def message_of(file: IO[bytes] | None, sender: str, recipient: str) -> bytes:
    """The file's octets with CRLF line ends, or a made-up message."""
    if file is None:
        from email.utils import formatdate

        return MADE_UP % (sender.encode(), recipient.encode(), formatdate().encode())
    octets = file.read()
    if file is sys.stdin.buffer or b"\r\n" not in octets:
        octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return octets


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name or "root").pw_uid
    except KeyError:
        raise click.UsageError(f"there is no Unix account {name}.") from None


__all__ = ["Rehearsal", "explain", "message_of", "prepared", "say"]
