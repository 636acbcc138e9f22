"""The real daemon for tests: `mta serve` in a process group of its own, on free loopback ports, in a folder of its own.

    with MailServer({"plugins": {"sql": {}, "mine": {"limit": 3}}}) as server:
        with server.smtp() as client:
            client.sendmail("bob@example.test", ["alice@example.test"], b"Subject: hi\\r\\n\\r\\nhi\\r\\n")
        with server.imap("alice@example.test") as box:
            box.select()

Nothing is faked: the configuration is written to a file, users are made by ``mta user import``, the log is read back from
standard error. Every wait has a deadline, every process is ended by its group. Works for plugins of other projects too.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import imaplib
import json
import os
import poplib
import pwd
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mta.testing import commands
from mta.testing.processes import children, established, group_members

HOST = "127.0.0.1"
DOMAIN = "example.test"
PASSWORD = "correct-horse"
USERS = (f"alice@{DOMAIN}", f"bob@{DOMAIN}")
PROTOCOLS = ("smtp", "submission", "imap", "pop3")


class ServerFailed(AssertionError):
    """The daemon did not do what it must within its time; the text ends with its log."""


def free_port() -> int:
    """Return a loopback port nobody listens on, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


def wait_until(claim: Callable[[], object], timeout: float, what: str, pause: float = 0.02) -> float:
    """Wait until ``claim()`` is true. Returns the seconds it took; raises AssertionError naming ``what`` otherwise."""
    begin = time.monotonic()
    while True:
        value = claim()
        took = time.monotonic() - begin
        if value:
            return took
        if took > timeout:
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(pause)


class MailServer:
    """One installation: configuration, state, and the daemon while it runs.

    config     sections that differ from the test defaults (loopback, passwords without TLS, the domain example.test);
               merged section by section; ``listen`` and ``data_dir`` are made here unless given
    users      accounts made before the first start, all with PASSWORD
    protocols  schemes to listen on, each on a free port
    directory  a folder that exists; None: a temporary one, removed at the end
    wrapper    words put before the command (strace, a shell with ulimit)
    env        added to the environment of the daemon and of every ``mta`` command
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        users: Sequence[str] = USERS,
        protocols: Sequence[str] = PROTOCOLS,
        directory: Path | None = None,
        wrapper: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="mta-")) if directory is None else directory
        self.config_file = self.directory / "mta.yaml"
        self.log_file = self.directory / "log"
        self.ports = {name: free_port() for name in protocols}
        self.wrapper = tuple(wrapper)
        self.env = dict(env or {})
        self.users = tuple(users)
        self.config = _merged(self._defaults(), config or {})
        self.data_dir = Path(self.config["data_dir"])
        self.process: subprocess.Popen[bytes] | commands.Command | None = None
        self._log_start = 0
        self._prepared = False

    def _defaults(self) -> dict[str, Any]:
        return {
            "hostname": f"mx.{DOMAIN}",
            "data_dir": str(self.directory / "data"),
            "database": "sqlite",
            "listen": [f"{name}://{HOST}:{port}" for name, port in self.ports.items()],
            "auth": {"plaintext_without_tls": True, "failure_delay": 0.1},
            "relay": {"networks": []},
            "domains": [DOMAIN],
            "workers": 2,
            "user": pwd.getpwuid(os.geteuid()).pw_name,  # tests of a root-owned checkout need no further account
            "plugins": {"sql": {}},
        }

    # ---- life

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if exc is not None and not isinstance(exc, ServerFailed):
            exc.add_note(f"---- end of the server's log ----\n{self.log[-4000:]}")
        self.close()

    def write_config(self, text: str | None = None) -> None:
        """Write ``self.config``, or ``text`` as it is."""
        self.config_file.write_text(json.dumps(self.config, indent=1) if text is None else text, encoding="utf-8")

    def prepare(self) -> None:
        """Write the configuration and make the users; done once, by ``start``, unless called before."""
        if self._prepared:
            return
        self.write_config()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self.users:
            self.add_users(*self.users)
        self._prepared = True

    def start(self, timeout: float = 20.0) -> float:
        """Start and wait until every socket accepts. Returns the seconds it took."""
        self.prepare()
        self.launch()
        return self.wait_listening(timeout)

    def launch(self) -> None:
        """Start and do not wait."""
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        program, *words = self.command("serve")
        env = self._environment()
        with self.log_file.open("ab") as log, open(os.devnull, "rb") as nothing:
            # In a session of its own: kill() reaches supervisor and workers through the group.
            if not self.wrapper and commands.can_run(program, env):
                files = nothing.fileno(), log.fileno(), log.fileno()
                self.process = commands.Command(words, files, env=env, cwd=self.directory, session=True)
            else:
                self.process = subprocess.Popen(
                    [*self.wrapper, program, *words],
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    env=env,
                    cwd=self.directory,
                    start_new_session=True,
                )

    def wait_listening(self, timeout: float = 20.0) -> float:
        """Wait for one ``listening`` line for each socket since the last start."""
        wanted = len(self.config["listen"])

        def ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise ServerFailed(f"exit status {self.process.returncode} at start\n{self.log_now[-4000:]}")
            return len(re.findall(r"\blistening\b", self.log_now)) >= wanted

        try:
            return wait_until(ready, timeout, f"{wanted} listening lines", 0.005)
        except ServerFailed:
            raise
        except AssertionError as exc:
            raise ServerFailed(f"{exc}\n{self.log_now[-4000:]}") from exc

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, wait. Returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise ServerFailed(f"still there {timeout:g} s after SIGTERM\n{self.log_now[-4000:]}") from exc
        self.process = None
        return status

    def kill(self) -> None:
        """SIGKILL to the whole process group; returns when no process of it is left."""
        if self.process is None:
            return
        group = self.process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        self.process.wait(10)
        self.process = None
        wait_until(lambda: not group_members(group), 10, "process group gone", 0.002)

    def close(self) -> None:
        """Kill what runs and remove the temporary folder."""
        self.kill()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def reload(self) -> None:
        """SIGHUP to the supervisor."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    # ---- looking at it

    @property
    def pid(self) -> int:
        """The supervisor; with a wrapper that stays (strace), its first child."""
        assert self.process is not None
        return self.process.pid

    @property
    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return children(self.pid)

    def connections(self, protocol: str) -> dict[int, int]:
        """How many connections of ``protocol`` each worker holds."""
        return {pid: established(pid, self.ports[protocol]) for pid in self.workers}

    @property
    def log(self) -> str:
        """Everything logged since the folder was made."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    @property
    def log_now(self) -> str:
        """What was logged since the last start."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode("utf-8", "replace")

    def wait_for_log(self, pattern: str, timeout: float = 10.0) -> re.Match[str]:
        """Wait for a line that matches ``pattern`` (regular expression) since the last start."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            match = re.search(pattern, self.log_now, re.MULTILINE)
            if match:
                found.append(match)
            return match is not None

        wait_until(seen, timeout, f"log line {pattern!r}")
        return found[0]

    # ---- commands

    @staticmethod
    def program(name: str) -> str:
        """The path of an installed command: beside this interpreter, else on PATH."""
        beside = Path(sys.executable).parent / name
        path = str(beside) if beside.exists() else shutil.which(name)
        if path is None:
            raise FileNotFoundError(f"{name} is not installed")
        return path

    def command(self, *words: str) -> list[str]:
        return [self.program("mta"), "--config", str(self.config_file), *words]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONUNBUFFERED": "1", **self.env}

    def cli(
        self, *words: str, octets: bytes = b"", timeout: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ``mta WORDS`` with ``octets`` on standard input."""
        program, *rest = self.command(*words)
        env = self._environment()
        if commands.can_run(program, env):
            done = commands.run(rest, octets=octets, env=env, cwd=self.directory, timeout=timeout)
        else:
            done = subprocess.run(
                [program, *rest], input=octets, capture_output=True, env=env, cwd=self.directory, timeout=timeout, check=False
            )
        if check and done.returncode:
            raise ServerFailed(
                f"mta {' '.join(words)}: exit status {done.returncode}\n{done.stderr.decode(errors='replace')[-4000:]}"
            )
        return done

    def spawn(self, *words: str) -> "commands.Command | subprocess.Popen[bytes]":
        """Begin ``mta WORDS``, which says nothing to anybody."""
        program, *rest = self.command(*words)
        env = self._environment()
        with open(os.devnull, "r+b") as nothing:
            if commands.can_run(program, env):
                return commands.Command(rest, (nothing.fileno(),) * 3, env=env, cwd=self.directory)
            return subprocess.Popen([program, *rest], stdin=nothing, stdout=nothing, stderr=nothing, env=env, cwd=self.directory)

    def sendmail(self, *words: str, octets: bytes, timeout: float = 30.0, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run ``mta-sendmail -C CONFIG WORDS`` with the message on standard input."""
        done = subprocess.run(
            [self.program("mta-sendmail"), "-C", str(self.config_file), *words],
            input=octets,
            capture_output=True,
            env=self._environment(),
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise ServerFailed(f"mta-sendmail: exit status {done.returncode}\n{done.stderr.decode(errors='replace')[-4000:]}")
        return done

    def add_users(self, *addresses: str, password: str = PASSWORD) -> None:
        """Make accounts by ``mta user import``."""
        file = self.directory / "users"
        file.write_text("".join(f"{address}\t{password}\n" for address in addresses), encoding="utf-8")
        self.cli("user", "import", str(file))

    def queue_count(self) -> int:
        """Recipients waiting, by ``mta queue stats --count``."""
        return int(self.cli("queue", "stats", "--count").stdout)

    # ---- clients of the standard library

    def smtp(self, user: str = "", *, protocol: str = "", timeout: float = 15.0) -> smtplib.SMTP:
        """Connect to the MX port, or logged in as ``user`` to the submission port; EHLO is done."""
        protocol = protocol or ("submission" if user else "smtp")
        secure = {"context": untrusting()} if protocol == "submissions" else {}
        kind: Any = smtplib.SMTP_SSL if protocol == "submissions" else smtplib.SMTP
        client: smtplib.SMTP = kind(HOST, self.ports[protocol], local_hostname="client.test", timeout=timeout, **secure)
        client.ehlo()
        if user:
            client.login(user, PASSWORD)
        return client

    def imap(self, user: str, *, timeout: float = 15.0) -> imaplib.IMAP4:
        """Connect and log in."""
        client = imaplib.IMAP4(HOST, self.ports["imap"], timeout=timeout)
        client.login(user, PASSWORD)
        return client

    def pop3(self, user: str, *, timeout: float = 15.0) -> poplib.POP3:
        """Connect and log in."""
        client = poplib.POP3(HOST, self.ports["pop3"], timeout=timeout)
        client.user(user)
        client.pass_(PASSWORD)
        return client


def untrusting() -> ssl.SSLContext:
    """A client context for the self-signed pair of a development server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Sections are merged key by key; ``plugins`` and everything that is no section is replaced."""
    out = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping) and key != "plugins"
        out[key] = _merged(out[key], value) if both else value
    return out
