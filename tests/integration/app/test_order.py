"""Config ``order``: what ``mta hooks order`` says of it, and errors with file and line."""
# SPDX-License-Identifier: Apache-2.0

import json
from contextlib import closing

import pytest
import yaml

from mta.testing.server import MailServer

HOOK = "from mta_hooks import hookimpl\n@hookimpl{options}\ndef smtp_mail(sender): ...\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    hooks = tmp_path_factory.mktemp("hooks")
    hooks.chmod(0o755)
    for name, options in (("a", '(before="b")'), ("b", ""), ("c", "")):
        (hooks / f"{name}.py").write_text(HOOK.format(options=options))
    with closing(MailServer({"hooks_dir": str(hooks)}, protocols=("smtp",))) as one:
        one.prepare()
        yield one


def order(server, said):
    server.write_config(yaml.safe_dump({**server.config, "order": said}))
    return server.cli("hooks", "order", "smtp_mail", "--json", check=False)


def test_the_administrator_s_order_wins_and_says_so(server):
    done = order(server, {"smtp_mail": ["c", "b", "gone"]})
    found = [(row["plugin"], row["reason"]) for row in json.loads(done.stdout)]
    assert [plugin for plugin, _ in found] == ["c", "b", "a"]
    assert "administrator: number 1 of order (" in found[0][1]
    assert "mta.yaml:" in found[0][1]
    assert "not after a: the administrator's order wins" in found[1][1]
    assert b"order: gone does not run here" in done.stderr
    assert [row["plugin"] for row in json.loads(order(server, {}).stdout)] == ["a", "b", "c"]


def test_stages_are_named(server):
    server.write_config(yaml.safe_dump({**server.config, "plugins": {"sql": {}, "dkim": {}}}))
    rows = json.loads(server.cli("hooks", "order", "message_authenticate", "--json").stdout)
    assert [(row["stage"], row["plugin"]) for row in rows] == [("1 authenticate", "dkim")]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"smtp_male": ["a"]}, "order.smtp_male: there is no hook smtp_male; did you mean smtp_mail?"),
        ({"smtp_mail": ["a", "a"]}, "order.smtp_mail: names a twice"),
        ({"smtp_mail": {"a": {"under": "b"}}}, "order.smtp_mail.a: must say before or after"),
    ],
)
def test_nonsense_ends_with_78_file_and_line(server, said, problem):
    done = order(server, said)
    assert done.returncode == 78
    assert problem in done.stderr.decode()
    assert f"{server.config_file}:" in done.stderr.decode()
