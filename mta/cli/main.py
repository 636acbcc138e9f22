"""Entry point of ``mta``: finds the command's module when it is asked for, so that ``--help`` imports nothing else."""
# SPDX-License-Identifier: Apache-2.0

import importlib
import inspect
import os
import sys
from typing import Any

import click

from mta import __version__

COMMANDS = {
    "serve": ("mta.cli.server", "serve"),
    "reload": ("mta.cli.server", "reload"),
    "status": ("mta.cli.server", "status"),
    "config": ("mta.cli.config", "config"),
    "doctor": ("mta.cli.doctor", "doctor"),
    "domain": ("mta.cli.domain", "domain"),
    "user": ("mta.cli.user", "user"),
    "app-password": ("mta.cli.app_password", "app_password"),
    "alias": ("mta.cli.alias", "alias"),
    "queue": ("mta.cli.queue", "queue"),
    "plugins": ("mta.cli.plugins", "plugins"),
    "hooks": ("mta.cli.hooks", "hooks"),
    "trace": ("mta.cli.trace", "trace"),
    "explain": ("mta.cli.explain", "explain"),
    "lookup": ("mta.cli.lookup", "lookup"),
    "mailbox": ("mta.cli.mailbox", "mailbox"),
    "import": ("mta.cli.importing", "import_"),
    "dns": ("mta.cli.dns", "dns"),
    "backup": ("mta.cli.backup", "backup"),
    "restore": ("mta.cli.backup", "restore"),
}
HELP = {
    "serve": "Run the server in the foreground.",
    "reload": "Read the config again and replace the workers one by one.",
    "status": "Show processes, sockets and connections of the running server.",
    "config": "Check, show and explain the config.",
    "doctor": "Look for what would go wrong: config, ports, disk, names, plugins.",
    "domain": "Domains of ours.",
    "user": "Accounts.",
    "app-password": "Further passwords of accounts, one for each program.",
    "alias": "Addresses that stand for others.",
    "queue": "Messages that wait.",
    "plugins": "What plugins run, and how they fare.",
    "hooks": "Hooks, and in which order plugins are asked.",
    "trace": "What became of a message.",
    "explain": "What would happen to a message.",
    "lookup": "Ask a table, or look for mistakes in it.",
    "mailbox": "Mailboxes, and whether they are sound.",
    "import": "Mail of other programs and servers.",
    "dns": "Records that a domain should have in DNS.",
    "backup": "Copy everything, while the server runs.",
    "restore": "Put a backup in place.",
}


class Lazy(click.Group):
    """Sub-commands by name; only the one that runs is imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            from mta.cli.owned import command_of

            return command_of(ctx, cmd_name)
        module, attribute = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(HELP.items()))
        from mta.cli.owned import listed

        if owned := listed(ctx.params.get("file")):
            with formatter.section("Commands of plugins"):
                formatter.write_dl(list(owned.items()))

    def invoke(self, ctx: click.Context) -> Any:
        result = super().invoke(ctx)
        if not inspect.iscoroutine(result):
            return result
        from mta.cli.owned import run

        return run(ctx, result)


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "file", metavar="FILE", is_eager=True, help="Config file; else $MTA_CONFIG, else /etc/mta/mta.yaml.")
@click.version_option(__version__, prog_name="mta")
@click.pass_context
def cli(ctx: click.Context, file: str | None) -> None:
    """A mail server whose every decision is a hook.

    Example: mta --config /etc/mta/mta.yaml user add alice@example.org
    """
    ctx.obj = file


def main(argv: list[str] | None = None) -> Any:
    """Run ``mta``. Exit status as in sysexits.h: 64 usage, 67 unknown address, 73 exists already, 75 try again, 77 not allowed, 78 config."""
    from mta.cli.failure import status_of, text_of

    try:
        result = cli.main(argv, prog_name="mta", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as exc:
        exc.show()
        sys.exit(64)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except Exception as exc:
        status = status_of(exc)
        if status is None:
            raise
        click.echo(f"mta: {text_of(exc)}", err=True)
        sys.exit(status)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
