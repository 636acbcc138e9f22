"""Logins through the machine's real PAM, with service files of the test's own: libpam reads them from any folder, as any user.

pam_unix is asked about accounts of the test's own too, in a mount namespace with a private passwd and shadow: that needs root.
"""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import ctypes.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mta.model.directory import AuthFail, AuthOk
from mta.model.errors import ConfigError, TemporaryFailure
from mta.testing.plugins import FakeSession, RecordingLog, host_with
from mta_pam import Pam
from mta_pam.config import PamConfig

pytestmark = pytest.mark.skipif(ctypes.util.find_library("pam") is None, reason="not installed: libpam0g")

ALICE = AuthOk("alice@example.org")
Ask = Callable[..., Awaitable[AuthOk | AuthFail | None]]


class Services:
    """A folder of PAM services, and a plugin that uses it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = RecordingLog()
        self.plugin = Pam()

    def write(self, *lines: str, name: str = "mta") -> None:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def script(self, text: str) -> str:
        """For pam_exec (whose own "no" is a system error, hence pam_deny): the password is the first line of its input, PAM_USER and PAM_RHOST are in the environment."""
        path = self.folder / "judge.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return f"auth [success=1 default=ignore] pam_exec.so expose_authtok quiet {path}\nauth requisite pam_deny.so\nauth required pam_permit.so"

    def run(self, talk: Callable[[Ask], Awaitable[Any]], **config: Any) -> Any:
        """``talk(ask)`` in one event loop; the helpers end with it."""
        settings = {"domains": ["example.org", "example.net"], "folder": str(self.folder), **config}

        async def main() -> Any:
            made = host_with(self.plugin, config=settings, log=self.log)
            plan = made.auth_verify
            assert plan is not None

            async def ask(username: str = "alice", password: str = "secret", **session: Any) -> Any:
                return await plan.first(service="imap", username=username, credential=password, session=FakeSession(**session))

            try:
                return await talk(ask)
            finally:
                assert made.shutdown is not None
                await made.shutdown.all(server=None)
                await asyncio.sleep(0.05)  # the event loop reaps

        return asyncio.run(main())

    def one(self, *args: str, **config: Any) -> Any:
        return self.run(lambda ask: ask(*args), **config)

    def pids(self) -> list[int]:
        assert self.plugin._pool is not None
        return [helper._process.pid for helper in self.plugin._pool._idle]


@pytest.fixture
def pam(tmp_path: Path) -> Services:
    return Services(tmp_path)


PERMIT = ("auth required pam_permit.so", "account required pam_permit.so")
UNKNOWN = "auth [default=die] pam_debug.so auth=user_unknown"


def test_pam_says_yes(pam: Services) -> None:
    pam.write(*PERMIT)
    assert pam.one() == ALICE


def test_pam_says_no(pam: Services) -> None:
    pam.write("auth required pam_deny.so", "account required pam_permit.so")
    assert pam.one() == AuthFail()
    pam.write("auth required pam_permit.so", "account required pam_deny.so")
    assert Services(pam.folder).one() == AuthFail()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("auth_err", AuthFail()), ("perm_denied", AuthFail()), ("maxtries", AuthFail()), ("acct_expired", AuthFail()),
        ("new_authtok_reqd", AuthFail()), ("user_unknown", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", ["auth", "account"])
def test_what_pams_codes_mean(pam: Services, code: str, expected: Any, step: str) -> None:
    lines = {"auth": "auth required pam_permit.so", "account": "account required pam_permit.so"}
    lines[step] = f"{step} [success=ok default=die] pam_debug.so {'auth' if step == 'auth' else 'acct'}={code}"
    pam.write(*lines.values())
    assert pam.one() == expected


@pytest.mark.parametrize("code", ["authinfo_unavail", "system_err", "service_err", "cred_unavail", "abort", "buf_err"])
def test_trouble_of_pam_is_no_wrong_password(pam: Services, code: str) -> None:
    pam.write(f"auth [success=ok default=die] pam_debug.so auth={code}", "account required pam_permit.so")
    with pytest.raises(TemporaryFailure):
        pam.one()
    assert pam.log.named("pam.unavailable")


def test_the_password_arrives_and_decides(pam: Services) -> None:
    pam.write(pam.script('read -r given; [ "$given" = "pä ss\'\\"" ] && [ "$PAM_USER" = alice ]'), "account required pam_permit.so")

    async def talk(ask: Ask) -> None:
        for _ in range(3):
            assert await ask("alice", "pä ss'\"") == ALICE
            assert await ask("alice", "pä ss'") == AuthFail()
            assert await ask("bob", "pä ss'\"") == AuthFail()
        assert await asyncio.gather(*(ask("alice", p) for p in ("pä ss'\"", "x") * 5)) == [ALICE, AuthFail()] * 5
        assert len(pam.pids()) == 2

    pam.run(talk)


def test_the_client_is_told_to_pam(pam: Services) -> None:
    pam.write(pam.script('[ "$PAM_RHOST" = 2001:db8::1 ]'), "account required pam_permit.so")

    async def talk(ask: Ask) -> None:
        assert await ask(client_ip="2001:db8::1") == ALICE
        assert await ask(client_ip="192.0.2.1") == AuthFail()
        assert await ask(client_ip="") == AuthFail()

    pam.run(talk)


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        ("alice", ALICE), ("ALICE@Example.ORG", ALICE), ("alice@example.net", AuthOk("alice@example.net")), ("alice@example.com", None),
        ("", None), ("@", None), ("alice@", None), ("../alice", None), ("-x", None), ("a b@example.org", None), ('"a b"@example.org', None),
        ("ä@example.org", None), ("x" * 33, None), ("alice\n", None), ("al\0ice", None), ("alice+box@example.org", None),
    ],
)  # fmt: skip
def test_names(pam: Services, username: str, expected: Any) -> None:
    pam.write(*PERMIT)
    assert pam.one(username) == expected


@pytest.mark.parametrize("password", ["", "secret\0", "x" * 512, "ü" * 256])
def test_what_is_no_password(pam: Services, password: str) -> None:
    pam.write(*PERMIT)
    assert pam.one("alice", password) == AuthFail()


def test_odd_passwords_arrive(pam: Services) -> None:
    pam.write(*PERMIT)

    async def talk(ask: Ask) -> None:
        for password in ("x" * 511, "\n", '{"user": "root"}', "\ud800", "\U0001f600", "%s%n"):
            assert await ask("alice", password) == ALICE

    pam.run(talk)


def test_system_accounts_are_nobody(pam: Services) -> None:
    pam.write(*PERMIT)
    assert pam.one("root") is None
    assert Services(pam.folder).one("daemon@example.org") is None
    assert Services(pam.folder).one("root", minimum_uid=0) == AuthOk("root@example.org")


def test_a_module_that_writes_to_our_pipes_hits_nothing(pam: Services) -> None:
    judge = pam.script('echo \'{"number": 1, "answer": "ok"}\'; cat >/dev/null; exit 1').replace("quiet", "quiet stdout")
    pam.write(judge, "account required pam_permit.so")

    async def talk(ask: Ask) -> None:
        for _ in range(3):
            assert await ask() == AuthFail()

    pam.run(talk)


def test_a_helper_that_dies_is_replaced(pam: Services) -> None:
    pam.write(*PERMIT)

    async def talk(ask: Ask) -> None:
        assert await ask() == ALICE
        (before,) = pam.pids()
        os.kill(before, signal.SIGKILL)
        assert await ask() == ALICE
        (after,) = pam.pids()
        assert after != before

    pam.run(talk)


def test_a_module_that_crashes_is_trouble_and_not_the_end(pam: Services) -> None:
    pam.write(pam.script("kill -SEGV $PPID; sleep 1"), "account required pam_permit.so")

    async def talk(ask: Ask) -> None:
        with pytest.raises(TemporaryFailure):
            await ask()
        assert pam.log.named("pam.helper_died")
        pam.write(*PERMIT)
        assert await ask() == ALICE

    pam.run(talk)


def test_a_module_that_hangs_is_ended(pam: Services) -> None:
    pam.write(pam.script("exec sleep 20"), "account required pam_permit.so")

    async def talk(ask: Ask) -> None:
        began = time.monotonic()
        with pytest.raises(TemporaryFailure):
            await asyncio.gather(*(ask() for _ in range(5)))
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.5)  # those that are left have their deadline too
        pam.write(*PERMIT)
        assert await ask() == ALICE

    pam.run(talk, deadline=0.4)


def test_a_client_that_goes_away_takes_no_answer_from_the_next(pam: Services) -> None:
    pam.write(pam.script('read -r p; sleep 0.3; [ "$p" = right ]'), "account required pam_permit.so")

    async def talk(ask: Ask) -> None:
        gone = asyncio.ensure_future(ask("alice", "right"))
        await asyncio.sleep(0.15)
        gone.cancel()
        assert await asyncio.gather(*(ask("alice", p) for p in ("wrong", "right"))) == [AuthFail(), ALICE]

    pam.run(talk, helpers=1)


def test_wrong_passwords_hold_up_nobody(pam: Services) -> None:
    """pam_faildelay asks for three seconds; the server has a delay of its own."""
    pam.write("auth optional pam_faildelay.so delay=3000000", "auth required pam_deny.so", "account required pam_permit.so")

    async def talk(ask: Ask) -> float:
        await ask()
        began = time.monotonic()
        assert [await ask() for _ in range(4)] == [AuthFail()] * 4
        return time.monotonic() - began

    assert pam.run(talk) < 2


def test_helpers_are_replaced_after_many_questions(pam: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mta_pam.pool.RECYCLED", 3)
    pam.write(*PERMIT)

    async def talk(ask: Ask) -> None:
        seen = set()
        for _ in range(7):
            assert await ask() == ALICE
            seen.update(pam.pids())
        assert len(seen) == 3

    pam.run(talk, helpers=1)


def test_the_helpers_end_with_the_server(pam: Services) -> None:
    pam.write(*PERMIT)

    async def talk(ask: Ask) -> list[int]:
        await asyncio.gather(ask(), ask())
        return pam.pids()

    for pid in pam.run(talk):
        deadline = time.monotonic() + 5
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not Path(f"/proc/{pid}").exists()


def test_startup_refuses_a_service_without_a_file_and_a_helper_that_cannot(pam: Services) -> None:
    def start(**config: Any) -> None:
        async def main() -> None:
            made = host_with(Pam(), config={"domains": ["a.test"], "folder": str(pam.folder), **config})
            (plugin,) = made.plugins.values()
            try:
                await plugin.object.startup(plugin.context)
            finally:
                await plugin.object.shutdown()
                await asyncio.sleep(0.05)

        asyncio.run(main())

    with pytest.raises(ConfigError, match="there is no such file"):
        start()
    pam.write(*PERMIT)
    start()
    for command in (["/nonexistent"], ["false"], ["echo", "[]"], ["echo", '{"ready": false, "detail": "no libpam"}']):
        with pytest.raises(ConfigError, match=r"plugins\.\w+\.command"):
            start(command=command)


def test_config_is_checked() -> None:
    wrongs: tuple[dict[str, Any], ...] = (
        {"domains": []}, {"domains": ["a b"]}, {"service": "../x"}, {"service": "A/b"}, {"folder": "x"}, {"helpers": 0}, {"minimum_uid": -1},
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            PamConfig.model_validate({"domains": ["a.test"], **wrong})
    with pytest.raises(ValidationError):
        PamConfig.model_validate({})


# ---- pam_unix, about accounts of the test's own

_PRIVATE = 'mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/shadow" /etc/shadow && exec "$@"'


def namespace(folder: Path) -> list[str]:
    """What to put in front of the helper's command line. Skips where no mount namespace can be made."""
    secret = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, check=True, text=True).stdout.strip()
    (folder / "passwd").write_text(
        Path("/etc/passwd").read_text() + "".join(f"{name}:x:{uid}:{uid}::/:/bin/sh\n" for name, uid in ACCOUNTS.items())
    )
    today = int(time.time() // 86400)
    (folder / "shadow").write_text(
        f"alice:{secret}:{today}::::::\nlocked:!{secret}:{today}::::::\nempty::{today}::::::\n"
        f"expired:{secret}:{today}:::::{today - 1}:\nstale:{secret}:0::::::\nlow:{secret}:{today}::::::\n"
    )
    (folder / "shadow").chmod(0o640)
    command = ["unshare", "--mount", "--", "sh", "-c", _PRIVATE, str(folder)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount namespace here: {tried.stderr.strip()}")
    return command


ACCOUNTS = {"alice": 61001, "locked": 61002, "empty": 61003, "expired": 61004, "stale": 61005, "low": 900}
UNIX = ("auth required pam_unix.so nullok", "account required pam_unix.so")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: shadow passwords, mount namespace")
@pytest.mark.peer("unshare", "openssl")
def test_pam_unix(pam: Services) -> None:
    pam.write(*UNIX)
    fail = AuthFail()

    async def talk(ask: Ask) -> None:
        assert await ask("alice", "secret") == ALICE
        assert await ask("alice@example.net", "secret") == AuthOk("alice@example.net")
        for username, password in (
            ("alice", "Secret"), ("locked", "secret"), ("locked", "x"), ("expired", "secret"), ("stale", "secret"), ("empty", ""),
            ("empty", "x"),
        ):  # fmt: skip
            assert await ask(username, password) == fail, username
        assert await ask("low", "secret") is None
        assert await ask("nobodyofthisname", "secret") is None

    pam.run(talk, command=namespace(pam.folder))


def test_the_helper_imports_nothing_of_the_server() -> None:
    command = PamConfig.model_validate({"domains": ["a.test"]}).helper_command()
    script = f"import sys, runpy; sys.argv = {list(command[2:])!r}; runpy.run_path(sys.argv[0]); print(*sys.modules)"
    found = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not [name for name in found if name.partition(".")[0] in ("mta", "mta_hooks", "mta_pam", "pydantic", "asyncio")]
