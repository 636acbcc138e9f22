"""Users of a system as accounts: the public suite, whom it takes, and the real daemon with them."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import imaplib
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from mta.model.address import Address
from mta.model.errors import ConfigError, TemporaryFailure
from mta.testing import conformance
from mta.testing.conformance import Elsewhere
from mta.testing.server import HOST, MailServer
from mta_hooks.backends import AccountsOptions
from mta_unix import open_accounts
from mta_unix.accounts import FRESH, UnixAccounts
from mta_unix.place import Place

OPTIONS = AccountsOptions("/nowhere", "mx.example.test", ("example.test", "other.test"))
PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/usr/sbin/nologin\ncarol:x:1000:1000:Carol,,,:/home/carol:/bin/bash\n"
    "dave:x:1001:1001::/home/dave:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nBad Line\n# x:y\nodd:x:many:1::/:\n+::::::\n"
)


def system(name: str) -> pwd.struct_passwd:
    if name not in ("carol", "root", "nobody"):
        raise KeyError(name)
    uid = {"carol": 1000, "root": 0, "nobody": 65534}[name]
    return pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))


@pytest.fixture(params=["file", "system"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Elsewhere:
    (tmp_path / "passwd").write_text(PASSWD)
    make: Callable[[], UnixAccounts]
    if request.param == "file":
        make = lambda: open_accounts(f"unix:{tmp_path}/passwd", OPTIONS)  # noqa: E731
    else:
        make = lambda: UnixAccounts(Place.of("unix:", OPTIONS), system)  # noqa: E731
    return Elsewhere(make, Address("Carol", "other.test"), Address("nobody", "example.test"))


class TestAccounts(conformance.AccountsConformance): ...


def test_ids_say_who_is_a_person(elsewhere: Elsewhere) -> None:
    async def scenario(db: UnixAccounts) -> None:
        for name in ("root", "nobody", "daemon", "odd", "+", "#"):
            assert await db.account(Address(name, "example.test")) is None
        found = await db.account(Address("carol", "other.test"))
        assert found is not None
        assert found.address == Address("carol", "example.test")

    elsewhere.run(scenario)  # type: ignore[arg-type]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "passwd"
    file.write_text(PASSWD)

    async def scenario() -> None:
        db = open_accounts(f"unix:{file}?domain=a.test&lowest=2000", OPTIONS)
        await db.open()
        erin = Address("erin", "a.test")
        assert await db.account(erin) is None
        file.write_text(PASSWD + "erin:x:2000:2000::/:/bin/sh\n")
        assert await db.account(erin) is not None
        assert await db.account(Address("carol", "a.test")) is None
        file.unlink()
        with pytest.raises(TemporaryFailure, match="passwd"):
            await db.account(erin)
        await db.close()

    asyncio.run(scenario())


def test_the_system_is_asked_once_a_minute_and_a_fault_is_no_answer() -> None:
    now, asked, broken = [0.0], [], []

    def ask(name: str) -> pwd.struct_passwd:
        asked.append(name)
        if broken:
            raise OSError(5, "sssd is away")
        return system(name)

    async def scenario() -> None:
        db = UnixAccounts(Place.of("unix:", OPTIONS), ask, lambda: now[0])
        for _ in range(3):
            assert await db.account(Address("carol", "example.test")) is not None
            assert await db.account(Address("gone", "example.test")) is None
        assert asked == ["carol", "gone"]
        now[0] = FRESH + 1
        broken.append(1)
        with pytest.raises(TemporaryFailure, match="sssd is away"):
            await db.account(Address("carol", "example.test"))
        await db.close()

    asyncio.run(scenario())


def test_this_system_can_be_asked() -> None:
    async def scenario() -> None:
        db = open_accounts("unix:?lowest=1&highest=4294967294", OPTIONS)
        await db.open()
        names = [e.pw_name for e in pwd.getpwall() if e.pw_uid]
        assert await db.account(Address(names[0], "example.test")) is not None
        await db.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("unix:relative", "must be absolute"),
        ("unix:?lowest=x", "invalid literal"),
        ("unix:?lowest=0", "root aside"),
        ("unix:?lowest=9&highest=8", "no user has an id"),
        ("unix:?colour=red", "unknown: colour"),
        ("unix:?domain=a..b", "a..b"),
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        open_accounts(url, OPTIONS)


def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        asyncio.run(open_accounts(f"unix:{tmp_path}/none", OPTIONS).open())


def test_the_server_delivers_to_users_of_the_system_and_lets_them_in(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(PASSWD)
    htpasswd = tmp_path / "htpasswd"
    htpasswd.write_text("carol:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")  # secret
    config = {
        "plugins": {"sql": {}, "unix": {}, "htpasswd": {"file": str(htpasswd), "domain": "example.test"}},
        "directory": f"unix:{passwd}?domain=example.test&domain=unix.test",
    }
    with MailServer(config, protocols=("smtp", "imap"), directory=tmp_path, users=["alice@example.test"]) as server:

        def rcpt(*recipients: str) -> list[int]:
            with server.smtp() as client:
                client.ehlo()
                client.mail("x@far.example")
                return [client.rcpt(r)[0] for r in recipients]

        ours = ("carol@example.test", "CAROL@unix.test", "carol+detail@example.test", "alice@example.test")
        assert rcpt(*ours, "root@example.test", "erin@example.test", "alice@unix.test") == [250] * 4 + [550] * 3
        with server.smtp() as client:
            client.sendmail("x@far.example", ["carol@unix.test", "alice@example.test"], b"Subject: hi\r\n\r\nhi\r\n")
        with imaplib.IMAP4(HOST, server.ports["imap"], timeout=15) as box:
            box.login("carol@example.test", "secret")
            assert box.select()[1] == [b"1"]
        passwd.write_text(PASSWD.replace("carol", "karin"))
        assert rcpt("carol@example.test", "karin@example.test") == [550, 250]
        assert b"carol@example.test" in server.cli("user", "list").stdout  # the mailbox stays
