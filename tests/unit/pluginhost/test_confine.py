"""Which account a program runs as, and that a spawner of root's obeys only for the accounts it was given."""

import asyncio
import os
import pwd

import pytest

from mta.model.errors import TemporaryFailure
from mta.pluginhost.check import PluginRefused
from mta.pluginhost.confine import Confinement, account_for, account_of_recipient, credentials
from mta.pluginhost.launcher import Command, Launcher
from mta.testing.plugins import RecordingLog

ENTRIES = {
    "root": pwd.struct_passwd(("root", "x", 0, 0, "", "/root", "/bin/sh")),
    "nobody": pwd.struct_passwd(("nobody", "x", 65534, 65534, "", "/nonexistent", "/usr/sbin/nologin")),
    "mta": pwd.struct_passwd(("mta", "x", 990, 990, "", "/var/lib/mta", "/bin/sh")),
    "carol": pwd.struct_passwd(("carol", "x", 1000, 1000, "", "/home/carol", "/bin/sh")),
}


@pytest.fixture
def accounts(monkeypatch):
    entries = dict(ENTRIES)
    monkeypatch.setattr(pwd, "getpwnam", entries.__getitem__)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: next(e for e in entries.values() if e.pw_uid == uid))
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 0, 50])
    return entries


def as_uid(monkeypatch, uid):
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_root_becomes_the_account_for_hooks(accounts, monkeypatch) -> None:
    as_uid(monkeypatch, 0)
    launcher = Launcher(RecordingLog())
    assert account_for("", launcher).name == "nobody"
    accounts["mta-hook"] = pwd.struct_passwd(("mta-hook", "x", 991, 991, "", "/", "/bin/sh"))
    account = account_for("", launcher)
    assert (account.name, account.groups, credentials(account)) == ("mta-hook", (991, 50), (991, 991, (991, 50)))
    assert account_for("carol", launcher).uid == 1000
    with pytest.raises(PluginRefused, match="never run as root"):
        account_for("root", launcher)
    del accounts["mta-hook"], accounts["nobody"]
    with pytest.raises(PluginRefused, match="no account mta-hook or nobody"):
        account_for("", launcher)


def test_who_is_not_root_stays_who_they_are(accounts, monkeypatch) -> None:
    as_uid(monkeypatch, 990)
    launcher = Launcher(RecordingLog())
    account = account_for("", launcher)
    assert (account.name, credentials(account)) == ("mta", None)
    assert account_for("mta", launcher).name == "mta"
    with pytest.raises(PluginRefused, match="runs as mta and cannot become carol"):
        account_for("carol", launcher)
    assert account_of_recipient("carol", launcher) is None


def test_who_was_root_can_have_programs_run_as_the_accounts_given_then(accounts, monkeypatch) -> None:
    as_uid(monkeypatch, 990)
    launcher = Launcher(RecordingLog(), accounts=frozenset({65534}))
    assert account_for("", launcher).name == "nobody"
    with pytest.raises(PluginRefused, match="cannot become carol"):
        account_for("carol", launcher)
    with pytest.raises(TemporaryFailure, match="cannot be started again without root"):
        launcher.start(Command(("/bin/true",), {}, None, {}), (), lambda *_: None)


def test_people_s_accounts_only(accounts, monkeypatch) -> None:
    as_uid(monkeypatch, 0)
    launcher = Launcher(RecordingLog())
    assert account_of_recipient("carol", launcher).home == "/home/carol"
    for name in ("root", "mta", "nobody", "dave", "", "ca\x00rol", "càrol"):
        assert account_of_recipient(name, launcher) is None


def test_limits() -> None:
    confinement = Confinement(memory="64 MiB", cpu="2m")
    assert confinement.limits(one_shot=True) == {"AS": 2**26, "FSIZE": 2**32, "NOFILE": 256, "NPROC": 64, "CPU": 120}
    assert "CPU" not in confinement.limits(one_shot=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_a_spawner_of_root_s_obeys_for_its_accounts_only() -> None:
    launcher = Launcher(RecordingLog())
    nobody, daemon = (pwd.getpwnam(name) for name in ("nobody", "daemon"))
    launcher.open_as_root([nobody.pw_uid, 0])

    async def status(account):
        ended = asyncio.get_running_loop().create_future()
        launcher.start(Command(("/bin/sh", "-c", "exit 7"), {}, account, {}), (), lambda *end: ended.set_result(end))
        return await ended

    async def main():
        return [
            await status((nobody.pw_uid, nobody.pw_gid, [])),
            await status((daemon.pw_uid, daemon.pw_gid, [])),
            await status((nobody.pw_uid, nobody.pw_gid, [0])),
            await status((nobody.pw_uid, 0, [])),
            await status((0, 0, [])),
            await status(None),
        ]

    try:
        assert asyncio.run(main()) == [("", 7), *[("not an account for hooks", 126)] * 5]
    finally:
        launcher.close()
