"""What the tutorials show works as shown."""

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType

from mta.model.address import Address
from mta.model.delivery import Delivered
from mta.pluginhost.dropin import DropIns
from mta.testing.plugins import FakeHttp, FakeMessage, FakeSession, host_with
from mta_hooks.sasl import Challenge, Rejected

DOCS = Path(__file__).resolve().parents[3] / "docs/plugin-authors"


def blocks(page, language):
    text = (DOCS / page).read_text("utf-8")
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    return ["\n".join(line.removeprefix(indent) for line in code.split("\n")) for indent, code in found]


def test_the_first_hook(tmp_path) -> None:
    tmp_path.chmod(0o755)
    for name, text in (("ticket.py", blocks("first-hook.md", "python")[0]), ("ticket.yaml", blocks("first-hook.md", "yaml")[1])):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    http = FakeHttp(201)
    host = host_with(http=http)
    DropIns(host, str(tmp_path)).scan()
    assert host.failed == {}
    assert len(blocks("first-hook.md", "python")[0].strip().splitlines()) <= 10

    def deliver(local):
        return asyncio.run(host.deliver.first(recipient=Address(local, "example.org"), sender=None, message=FakeMessage()))

    assert deliver("support") == Delivered("ticket made")
    assert deliver("bob") is None
    assert [r.url for r in http.requests] == ["http://127.0.0.1:8080/tickets"]


def test_the_package_and_its_test() -> None:
    plugin, _field, test, with_daemon = blocks("package.md", "python")
    compile(with_daemon, "package.md", "exec")  # runs only where the package is installed
    module = ModuleType("mta_patience")
    sys.modules["mta_patience"] = module
    try:
        exec(compile(plugin, "package.md", "exec"), vars(module))
        names = {"__name__": "shown"}
        exec(compile(test, "package.md", "exec"), names)
        names["test_a_stranger_waits"]()
    finally:
        del sys.modules["mta_patience"]


def test_a_mechanism_and_capabilities(tmp_path) -> None:
    """protocols.md, both blocks, as drop-in hooks."""
    tmp_path.chmod(0o755)
    for name, text in zip(("mechanism", "commands"), blocks("protocols.md", "python"), strict=True):
        (tmp_path / f"{name}.py").write_text(text)
        (tmp_path / f"{name}.py").chmod(0o644)
    host = host_with()
    DropIns(host, str(tmp_path)).scan()
    assert host.failed == {}
    session = FakeSession()

    async def answers():
        run = host.offering.mechanisms["X-ONE-TIME"].mechanism(None, host.plugins["mechanism"].context)
        assert await run.step(b"bob@example.org") == Challenge(b"code?")
        assert await run.step(b"1234") == Rejected("bob@example.org")
        commands = host.offering.commands
        assert (await commands["imap", "XQUOTA"].call(session=session, arguments=["ME"])).lines == ["XQUOTA 0"]
        assert (await commands["imap", "XQUOTA"].call(session=session, arguments=[])).status == "BAD"
        assert (await commands["smtp", "XBILL"].call(session=session, arguments="")).code == 250
        assert (await commands["pop3", "XLAST"].call(session=session, arguments="")).lines == ["one", "two"]

    asyncio.run(answers())
    assert host.offering.mail["XCOST"]("x") == "XCOST takes a number"
    assert host.offering.mail["XCOST"]("7") is None
