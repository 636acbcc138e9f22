"""``mta serve``, ``mta reload``, ``mta status``."""
# SPDX-License-Identifier: Apache-2.0

import os
import sys
import time
from typing import Any

import click

from mta.app.control import Answer, ask
from mta.app.places import Places
from mta.cli.access import loaded
from mta.cli.failure import CONFIG, NOPERM, UNAVAILABLE
from mta.cli.live import live, main_numbers
from mta.cli.output import json_option, show, stamp
from mta.config.safe import SAFE_MODE
from mta.pluginhost import environment

_RELOAD_TAKES = 120.0


@click.command()
@click.option("--pid-file", default="", metavar="FILE", help="Write the supervisor's process id here; removed at the end.")
@click.option(
    "--safe-mode", is_flag=True, help="Without third-party plugins and drop-in hooks; reloads too. Same as MTA_SAFE_MODE=1."
)
@click.pass_context
def serve(ctx: click.Context, pid_file: str, safe_mode: bool) -> None:
    """Run the server in the foreground: SIGTERM drains and stops, SIGHUP reloads, a second SIGTERM stops at once.

    Example: mta --config /etc/mta/mta.yaml serve
    """
    if safe_mode:
        os.environ[SAFE_MODE] = "1"  # a reload reads the config anew, in this process
    config = loaded(ctx)
    environment.use(config.config.data_dir)
    if config.left_out:
        click.echo(f"mta: safe mode: without {', '.join(config.left_out)}", err=True)
    from mta.app.supervisor import Supervisor

    sys.exit(Supervisor(config, pid_file).run())


@click.command()
@click.pass_context
def reload(ctx: click.Context) -> None:
    """Check the config and replace the workers one generation by the next; a wrong config changes nothing (exit status 78).

    Example: mta reload
    """
    answer = _ask(ctx, "reload", _RELOAD_TAKES)
    if not answer.get("ok"):
        click.echo(answer.get("error", "failed"), err=True)
        sys.exit(CONFIG)
    click.echo("reloaded")


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show the running server: state, sockets, workers and their connections, main numbers. Exit status 69 when none runs.

    Example: mta status --json
    """
    answer = _ask(ctx, "status", 10.0)
    numbers = live(loaded(ctx))
    if as_json:
        import json

        if numbers is not None:
            answer |= {"problems": numbers["problems"], "metrics": numbers["metrics"]}
        click.echo(json.dumps(answer, indent=1))
        return
    click.echo(
        f"mta {answer['version']}, {answer['state']} since {stamp(answer['started'])} ({_age(answer['started'])}), pid {answer['pid']}"
    )
    click.echo(f"config {answer['config']}, workers restarted after a crash: {answer['restarts']}\n")
    show(answer["listening"], ("url", "address"), False)
    click.echo()
    workers: list[dict[str, Any]] = [{**w, "dispatch": "yes" if w["dispatch"] else ""} for w in answer["workers"]]
    show(workers, ("worker", "pid", "state", "seconds", "smtp", "imap", "pop3", "http", "dispatch"), False)
    if numbers is not None:
        click.echo("\n" + "\n".join(f"{what:<10} {text}" for what, text in main_numbers(numbers)))


def _age(started: float) -> str:
    seconds = int(time.time() - started)
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h {seconds % 3600 // 60} min"


def _ask(ctx: click.Context, command: str, timeout: float) -> Answer:
    config = loaded(ctx)
    path = Places(config.config.data_dir).control
    try:
        answer = ask(path, command, timeout)
    except PermissionError:
        click.echo(
            f"mta: {path}: permission denied. Fix: run the command as root or as the account that started the server.", err=True
        )
        sys.exit(NOPERM)
    except TimeoutError:
        click.echo(f"mta: the server did not answer for {timeout:.0f} s", err=True)
        sys.exit(UNAVAILABLE)
    if answer is None:
        click.echo(f"mta: no server runs on {config.config.data_dir}. Fix: mta --config {config.file} serve", err=True)
        sys.exit(UNAVAILABLE)
    return answer
