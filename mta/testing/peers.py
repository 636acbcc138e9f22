"""Other people's mail servers on loopback, from Debian's packages: where our mail has to arrive, judged by their code.

SmtpSink (smtp-sink) keeps each transaction as a file; Postfix is a whole private instance that delivers into Maildirs, with
OpenDKIM as its verifying milter when asked. None of them touches /etc or a running instance. Postfix needs root.
"""
# SPDX-License-Identifier: Apache-2.0

import contextlib
import email
import email.message
import email.policy
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from mta.testing.server import HOST, free_port, wait_until

SBIN = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/local/sbin{os.pathsep}/usr/sbin{os.pathsep}/sbin"


def find(program: str) -> str:
    """Raises FileNotFoundError when it is not installed."""
    path = shutil.which(program, path=SBIN)
    if path is None:
        raise FileNotFoundError(f"{program} is not installed")
    return path


def can_bind(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def accepts(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


class SmtpSink:
    """Postfix's test receiver. ``options`` are its own: ["-Q", "..."] refuses, ["-F"] hides ESMTP …"""

    def __init__(self, host: str = HOST, port: int = 0, options: tuple[str, ...] = ()) -> None:
        self.host, self.port, self.options = host, port or free_port(), options
        self.directory = Path(tempfile.mkdtemp(prefix="mta-sink-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory.chmod(0o777)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        words = [find("smtp-sink"), *user, "-d", str(self.directory / "m."), *self.options, f"{self.host}:{self.port}", "100"]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: accepts(self.host, self.port), 5, "smtp-sink accepts")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def messages(self) -> list[email.message.EmailMessage]:
        """What came, with the envelope in the fields X-Mail-Args and X-Rcpt-Args above the message's own."""
        out = []
        for path in sorted(self.directory.iterdir()):
            octets = path.read_bytes()
            if octets.endswith(b"\n\n"):  # its end mark of a complete message
                out.append(email.message_from_bytes(octets, policy=email.policy.default))
        return out

    def wait(self, number: int, timeout: float = 15.0) -> list[email.message.EmailMessage]:
        wait_until(lambda: len(self.messages) >= number, timeout, f"{number} messages at smtp-sink", 0.05)
        return self.messages


class OpenDkim:
    """A verifying milter; its DNS is ``resolver`` (address:port)."""

    def __init__(self, resolver: str) -> None:
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mta-opendkim-"))
        self._resolver = resolver.replace(":", "@")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        unbound = self.directory / "unbound.conf"
        unbound.write_text(
            'server:\n  do-not-query-localhost: no\n  local-zone: "test." nodefault\n  module-config: "iterator"\n'
            f'forward-zone:\n  name: "."\n  forward-addr: {self._resolver}\n'
        )
        config = self.directory / "opendkim.conf"
        config.write_text(
            f"Mode v\nSocket inet:{self.port}@{HOST}\nAlwaysAddARHeader yes\nAuthservID peer.test\nSyslog no\n"
            f"ResolverConfiguration {unbound}\nDNSTimeout 5\nPidFile {self.directory}/pid\n"
        )
        self._process = subprocess.Popen(
            [find("opendkim"), "-f", "-x", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: accepts(HOST, self.port), 5, "opendkim accepts")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Postfix:
    """A private Postfix that takes all mail for ``domains`` into one Maildir.

    milter  port of a milter on loopback; extra: further lines of main.cf
    """

    def __init__(
        self, domains: tuple[str, ...], host: str = HOST, port: int = 0, milter: int = 0, extra: tuple[str, ...] = ()
    ) -> None:
        self.host, self.port = host, port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mta-postfix-"))
        self._domains, self._milter, self._extra = domains, milter, extra

    def __enter__(self) -> Self:
        self.directory.chmod(0o755)
        etc, queue, data, mail = (self.directory / name for name in ("etc", "queue", "data", "mail"))
        for folder in (etc, queue, data, mail):
            folder.mkdir()
        account, nobody = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
        os.chown(data, account.pw_uid, account.pw_gid)
        os.chown(mail, nobody.pw_uid, nobody.pw_gid)
        (etc / "main.cf").write_text("\n".join(self._main(queue, data, mail, nobody)) + "\n")
        (etc / "master.cf").write_text(self._master())
        self._command("start")
        wait_until(lambda: accepts(self.host, self.port), 15, "postfix accepts")
        return self

    def __exit__(self, *_exc: object) -> None:
        subprocess.run([find("postfix"), "-c", str(self.directory / "etc"), "abort"], capture_output=True, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _command(self, word: str) -> None:
        done = subprocess.run(
            [find("postfix"), "-c", str(self.directory / "etc"), word], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"postfix {word}: {done.stdout}{done.stderr}\n{self.log}")

    def _main(self, queue: Path, data: Path, mail: Path, owner: pwd.struct_passwd) -> list[str]:
        milters = [f"smtpd_milters = inet:{HOST}:{self._milter}", "milter_default_action = tempfail"] if self._milter else []
        return [
            "compatibility_level = 3.6", f"queue_directory = {queue}", f"data_directory = {data}",
            "myhostname = peer.test", "mydestination =", "mynetworks = 127.0.0.0/8", "inet_interfaces = 127.0.0.1",
            "inet_protocols = ipv4", "alias_maps =", "local_recipient_maps =",
            f"virtual_mailbox_domains = {', '.join(self._domains)}", f"virtual_mailbox_base = {mail}",
            "virtual_mailbox_maps = static:box/", "virtual_mailbox_limit = 0",
            "mailbox_size_limit = 0", "message_size_limit = 60000000",
            f"virtual_uid_maps = static:{owner.pw_uid}", f"virtual_gid_maps = static:{owner.pw_gid}",
            f"maillog_file = {self.directory}/log", f"maillog_file_prefixes = {self.directory}", *milters, *self._extra,
        ]  # fmt: skip

    def _master(self) -> str:
        service = f"{self.host}:{self.port}"
        names = {
            "pickup": "unix n - n 60 1 pickup", "cleanup": "unix n - n - 0 cleanup", "qmgr": "unix n - n 300 1 qmgr",
            "rewrite": "unix - - n - - trivial-rewrite", "bounce": "unix - - n - 0 bounce", "defer": "unix - - n - 0 bounce",
            "trace": "unix - - n - 0 bounce", "verify": "unix - - n - 1 verify", "flush": "unix n - n 1000? 0 flush",
            "proxymap": "unix - - n - - proxymap", "smtp": "unix - - n - - smtp", "relay": "unix - - n - - smtp",
            "error": "unix - - n - - error", "retry": "unix - - n - - error", "discard": "unix - - n - - discard",
            "local": "unix - n n - - local", "virtual": "unix - n n - - virtual", "lmtp": "unix - - n - - lmtp",
            "anvil": "unix - - n - 1 anvil", "tlsmgr": "unix - - n 1000? 1 tlsmgr", "scache": "unix - - n - 1 scache", "postlog": "unix-dgram n - n - 1 postlogd",
        }  # fmt: skip
        return f"{service} inet n - n - - smtpd\n" + "".join(f"{name} {rest}\n" for name, rest in names.items())

    @property
    def log(self) -> str:
        file = self.directory / "log"
        return file.read_text(errors="replace") if file.exists() else ""

    def messages(self, recipient: str) -> list[email.message.EmailMessage]:
        """What was delivered for this address."""
        folder = self.directory / "mail" / "box" / "new"
        paths = sorted(folder.iterdir()) if folder.exists() else []
        everything = (email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths)
        return [message for message in everything if message["Delivered-To"] == recipient]

    def wait(self, recipient: str, number: int = 1, timeout: float = 15.0) -> list[email.message.EmailMessage]:
        try:
            wait_until(lambda: len(self.messages(recipient)) >= number, timeout, f"{number} messages for {recipient}", 0.05)
        except AssertionError as exc:
            exc.add_note(self.log[-3000:])
            raise
        return self.messages(recipient)
