"""What the tutorials show works as shown."""

import asyncio
import re
import sys
from pathlib import Path
from types import ModuleType

from mta.model.address import Address
from mta.model.delivery import Delivered
from mta.pluginhost.dropin import DropIns
from mta.testing.plugins import FakeHttp, FakeMessage, host_with

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
