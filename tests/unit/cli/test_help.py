"""Every command explains itself with an example, and asking for help imports nothing heavy."""
# SPDX-License-Identifier: Apache-2.0

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from mta.cli.main import COMMANDS, HELP, cli


def commands(command: click.Command, path: str = "mta") -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


ALL = dict(commands(cli))


@pytest.mark.parametrize("path", ALL)
def test_help_has_an_example_that_parses(path: str) -> None:
    text = ALL[path].help or ""
    assert "Example: " in text
    assert "mta" in text.partition("Example: ")[2]


def test_listings_take_json() -> None:
    for path, command in ALL.items():
        if path.endswith(" list") or path in ("mta status", "mta trace"):
            assert any("--json" in p.opts for p in command.params), path


def test_the_overview_names_every_command() -> None:
    assert set(HELP) == set(COMMANDS)
    assert cli.get_command(click.Context(cli), "nonsense") is None


def test_help_is_light() -> None:
    code = (
        "import sys; from mta.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: mta" in done.stdout
    assert not {"pydantic", "yaml", "asyncio", "mta.config.load", "mta.pluginhost.host", "mta.smtpd.server"} & set(
        done.stderr.split()
    )


def test_queue_commands_import_no_server() -> None:
    code = "import sys, mta.cli.queue; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [m for m in loaded if m.startswith(("mta.smtpd", "mta.imapd", "mta.pop3d", "mta.app.build", "mta.pipeline"))]
