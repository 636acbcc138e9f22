"""``mta plugins``."""
# SPDX-License-Identifier: Apache-2.0

import click

from mta.cli.access import host_of, loaded
from mta.cli.output import json_option, show
from mta.pluginhost.dropin import DropIns


@click.group(invoke_without_command=True)
@click.pass_context
def plugins(ctx: click.Context) -> None:
    """What plugins the config runs. Without a sub-command: list.

    Example: mta plugins
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=False)


@plugins.command("list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List plugins in the order of the config, drop-in hooks after them, with what they implement and why one does not run.

    Example: mta plugins list --json
    """
    config = loaded(ctx)
    host = host_of(config)
    if config.config.hooks_dir:
        DropIns(host, config.config.hooks_dir).scan()
    rows = [
        {
            "name": p.name,
            "kind": p.kind,
            "state": p.state,
            "version": p.version,
            "required": p.required,
            "hooks": [h.hook for h in p.hooks] if as_json else " ".join(h.hook for h in p.hooks),
            "reason": p.reason,
            "path": p.path,
        }
        for p in host.health()
    ]
    show(rows, ("name", "kind", "state", "version", "hooks", "reason"), as_json)
