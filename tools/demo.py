"""``make run``: a server on loopback with two users, shown at work by real clients, kept running until Ctrl-C.

Config, state and log are in ./var; the config is written once and may be edited. Passwords are random and kept in
var/demo.env, which is there only while the server is ready.
"""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import os
import poplib
import secrets
import signal
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path

from mta.app.control import ask
from mta.app.places import Places
from mta.config.load import LoadedConfig, load
from mta.config.urls import parse_listen
from mta.model.errors import ConfigError

USERS = ("alice@example.test", "bob@example.test")
CONFIG = """\
# The demo server's config, written once by make run; edit it and run again. Every key: etc/mta.yaml
hostname: localhost
data_dir: data
listen:
  - smtp://127.0.0.1:2525
  - submission://127.0.0.1:2587
  - imap://127.0.0.1:2143
  - pop3://127.0.0.1:2110
  - http://127.0.0.1:2080
auth: {plaintext_without_tls: true}     # loopback only: try it with any client
domains: [example.test]
hooks_dir: hooks                        # save a Python file there: README.md, "Your first hook"
log: {file: mta.log}
plugins:
  sql: {}
  prometheus: {access: public}          # http://127.0.0.1:2080/metrics
"""
_START = 20.0


class Demo:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = folder / "demo.env"
        self._kept = folder / "demo.env.last"
        self._passwords: dict[str, str] = {}

    def prepare(self) -> LoadedConfig:
        """Folder, config, users. Raises ConfigError."""
        (self._folder / "hooks").mkdir(mode=0o755, parents=True, exist_ok=True)
        config = self._folder / "mta.yaml"
        if not config.exists():
            config.write_text(CONFIG, encoding="utf-8")
        loaded = load(str(config))
        if running := ask(Places(loaded.config.data_dir).control, "status"):
            raise ConfigError(
                "make run", str(config), f"the demo server runs already, pid {running['pid']}", "use it, or stop it with Ctrl-C."
            )
        if self._env.exists():
            self._env.replace(self._kept)
        known = self._remembered()
        accounts = set(self._mta("user", "list").split())
        for i, user in enumerate(USERS, 1):
            password = known.get(f"MAIL_PASS{'' if i == 1 else i}", "")
            if user not in accounts or not password:
                password = secrets.token_urlsafe(12)
                self._mta("user", "passwd" if user in accounts else "add", user, "--password-stdin", text=f"{password}\n")
            self._passwords[user] = password
        return loaded

    def _remembered(self) -> dict[str, str]:
        if not self._kept.exists():
            return {}
        pairs = (line.partition("=") for line in self._kept.read_text(encoding="utf-8").splitlines())
        return {key: value for key, _, value in pairs}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "mta.cli.main", "--config", str(self._folder / "mta.yaml"), *words]

    def _mta(self, *words: str, text: str = "") -> str:
        done = subprocess.run(self.command(*words), input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError("make run", " ".join(("mta", *words)), f"exit status {done.returncode}\n{done.stderr.rstrip()}")
        return done.stdout

    def show(self, loaded: LoadedConfig) -> None:
        """Send one message through submission and read it by IMAP and POP3, printing what happens. Raises what clients raise."""
        ports = dict(_ports(loaded))
        tls = ssl.create_default_context(cafile=str(Places(loaded.config.data_dir).tls / "certificate.pem"))
        alice, bob = USERS
        mark = secrets.token_hex(6)
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = alice, bob, f"Hello from the demo {mark}"
        message.set_content("Sent through submission, read by IMAP and POP3.\n")
        with smtplib.SMTP("localhost", ports["submission"], timeout=10) as smtp:
            smtp.starttls(context=tls)
            smtp.login(alice, self._passwords[alice])
            smtp.mail(alice)
            smtp.rcpt(bob)
            code, said = smtp.data(message.as_bytes(policy=policy.SMTP))
        _say("submission", f"{alice} (STARTTLS, AUTH) -> {bob}: {code} {said.decode()}")
        if code != 250:
            raise smtplib.SMTPDataError(code, said)
        with imaplib.IMAP4("localhost", ports["imap"], timeout=10) as imap:
            imap.starttls(tls)
            imap.login(bob, self._passwords[bob])
            imap.select("INBOX")
            _, found = imap.uid("SEARCH", "SUBJECT", mark)
            uid = found[0].split()[-1].decode()
            _, data = imap.uid("FETCH", uid, "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            assert isinstance(data[0], tuple)
            _say("IMAP", f"UID {uid}: {data[0][1].decode().strip()}")
        pop = poplib.POP3("localhost", ports["pop3"], timeout=10)
        pop.stls(tls)
        pop.user(bob)
        pop.pass_(self._passwords[bob])
        count, size = pop.stat()
        lines = pop.retr(count)[1]
        text = next(line for line in lines if line.lower().startswith(b"received:"))
        _say("POP3", f"{count} message{'' if count == 1 else 's'}, {size} octets; the last: {text.decode()} …")
        pop.quit()

    def announce(self, loaded: LoadedConfig) -> None:
        """Write demo.env and say how to go on."""
        ports = dict(_ports(loaded))
        values = {"HOST": "127.0.0.1"}
        values |= {
            f"{name.upper()}_PORT": str(ports[name]) for name in ("smtp", "submission", "imap", "pop3", "http") if name in ports
        }
        for i, user in enumerate(USERS, 1):
            values |= {f"MAIL_USER{'' if i == 1 else i}": user, f"MAIL_PASS{'' if i == 1 else i}": self._passwords[user]}
        temporary = self._folder / "demo.env.new"
        temporary.touch(mode=0o600)
        temporary.write_text("".join(f"{key}={value}\n" for key, value in values.items()), encoding="utf-8")
        temporary.replace(self._env)
        self._kept.unlink(missing_ok=True)
        print(f"\nReady. {'  '.join(f'{name} {port}' for name, port in ports.items())}, all on 127.0.0.1, mail with or without TLS")
        for user, password in self._passwords.items():
            print(f"  {user}  {password}")
        alice = USERS[0]
        print(f"Try:  curl imap://127.0.0.1:{ports['imap']}/INBOX -u {alice}:{self._passwords[alice]}")
        print(f"      .venv/bin/mta --config {self._folder / 'mta.yaml'} status      # and: trace, user list, queue list")
        if "http" in ports:
            print(f"      curl http://127.0.0.1:{ports['http']}/metrics                # and /readyz")
        print(f"Config {self._folder / 'mta.yaml'}, log {self._folder / 'mta.log'}. Ctrl-C stops.", flush=True)

    def forget(self) -> None:
        """No longer ready."""
        if self._env.exists():
            self._env.replace(self._kept)


def _ports(loaded: LoadedConfig) -> Iterator[tuple[str, int]]:
    for entry in loaded.config.listen:
        end = parse_listen(entry.url)
        yield end.scheme, end.port


def _say(what: str, text: str) -> None:
    print(f"  {what:<11} {text}", flush=True)


def _wait_ready(server: "subprocess.Popen[bytes]", loaded: LoadedConfig) -> bool:
    control = Places(loaded.config.data_dir).control
    until = time.monotonic() + _START
    while time.monotonic() < until and server.poll() is None:
        try:
            answer = ask(control, "status")
        except OSError:
            answer = None
        if answer and answer.get("state") == "running" and answer.get("pid") == server.pid:
            return True
        time.sleep(0.02)
    return False


def main() -> int:
    demo = Demo(Path("var"))
    try:
        loaded = demo.prepare()
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 78
    server = subprocess.Popen(demo.command("serve"), start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: server.send_signal(signal.SIGTERM))
    try:
        if _wait_ready(server, loaded):
            print("One real message:")
            try:
                demo.show(loaded)
            except (OSError, smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto, LookupError) as exc:
                print(f"The message did not make the round: {exc!r}; see var/mta.log", file=sys.stderr)
                return 1
            demo.announce(loaded)
        status = server.wait()
        if status:
            print("The server did not start; to use other ports, change listen in var/mta.yaml.", file=sys.stderr)
        return status
    finally:
        demo.forget()
        if server.poll() is None:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
