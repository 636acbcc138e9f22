"""A private Exim on loopback: as a next hop it takes all mail into a Maildir, as a sender it hands mail to us. Needs root.

``.ci/run`` unpacks Debian's exim4-daemon-light beside Postfix, with which it cannot be installed.
"""
# SPDX-License-Identifier: Apache-2.0

import email
import email.message
import email.policy
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from mta.testing.peers import accepts, find
from mta.testing.server import HOST, free_port, wait_until

USER = "Debian-exim"

_CONFIG = """
primary_hostname = exim.test
spool_directory = {root}/spool
log_file_path = {root}/log/%slog
pid_file_path = {root}/spool/pid
local_interfaces = {host}
daemon_smtp_ports = {port}
deliver_drop_privilege = true
never_users =
keep_environment =
acl_smtp_rcpt = accept
acl_smtp_data = accept
message_size_limit = 100M
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
rfc1413_query_timeout = 0s
log_selector = +all
{tls}
begin routers
{router}
begin transports
mail:
  driver = appendfile
  directory = {root}/mail
  maildir_format
  create_directory
  envelope_to_add
  return_path_add
onward:
  driver = smtp
  allow_localhost
  {onward}
begin retry
* * F,1h,1m
"""


class Exim:
    """``certificate``: PEM file with key and chain, STARTTLS is offered then; ``onward``: "host:port" to which it hands all mail, with
    ``options`` of its smtp transport."""

    def __init__(self, host: str = HOST, port: int = 0, *, certificate: str = "", onward: str = "", options: str = "") -> None:
        self.host, self.port = host, port or free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="mta-exim-"))
        self._certificate, self._onward, self._options = certificate, onward, options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory.chmod(0o755)
        for name in ("spool", "log", "mail"):
            (self.directory / name).mkdir()
            shutil.chown(self.directory / name, USER, USER)
        tls = "tls_advertise_hosts ="
        if self._certificate:
            copy = shutil.copy(self._certificate, self.directory / "tls.pem")
            shutil.chown(copy, USER, USER)
            tls = f"tls_advertise_hosts = *\ntls_certificate = {copy}\ntls_privatekey = {copy}"
        router = "all:\n  driver = accept\n  transport = mail"
        if self._onward:
            host, _, port = self._onward.rpartition(":")
            router = f"all:\n  driver = manualroute\n  route_data = {host}::{port} byname\n  self = send\n  transport = onward"
        config = self.directory / "exim.conf"
        config.write_text(
            _CONFIG.format(root=self.directory, host=self.host, port=self.port, tls=tls, router=router, onward=self._options)
        )
        self._words = [find("exim4"), "-C", str(config)]
        if not self._onward:
            self._process = subprocess.Popen([*self._words, "-bdf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(lambda: accepts(self.host, self.port), 5, "exim accepts")
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def send(self, sender: str, recipients: list[str], octets: bytes) -> str:
        """Hand a message over as a local user does, and return what its log says when the attempt is over."""
        words = [*self._words, "-odf", "-i", "-f", sender, *recipients]
        done = subprocess.run(words, input=octets.replace(b"\r\n", b"\n"), capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        return self.log

    @property
    def log(self) -> str:
        return "".join(file.read_text(errors="replace") for file in sorted((self.directory / "log").iterdir()))

    def messages(self) -> list[email.message.EmailMessage]:
        folder = self.directory / "mail" / "new"
        paths = sorted(folder.iterdir()) if folder.exists() else []
        return [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]

    def wait(self, number: int = 1, timeout: float = 10.0) -> list[email.message.EmailMessage]:
        try:
            wait_until(lambda: len(self.messages()) >= number, timeout, f"{number} messages in exim", 0.05)
        except AssertionError as exc:
            exc.add_note(self.log[-3000:])
            raise
        return self.messages()
