"""Entry point of ``mta-sendmail``, ``sendmail``, ``mailq`` and ``newaliases``. Exit statuses of sysexits.h."""
# SPDX-License-Identifier: Apache-2.0

import os
import sys

from mta.sendmail import message, options, place, submit


def main(argv: list[str] | None = None) -> None:
    """Read a message from standard input and hand it over; see docs/operators/sendmail.md."""
    words = sys.argv if argv is None else ["sendmail", *argv]
    try:
        status = run(words)
    except options.Usage as exc:
        status = _say(64, f"{exc}\nusage: mta-sendmail [-t] [-i] [-f SENDER] [-F NAME] [-C CONFIG] [RECIPIENT …] < message")
    except message.Unsendable as exc:
        status = _say(65, str(exc))
    except place.BadConfig as exc:
        status = _say(78, str(exc))
    except submit.Refused as exc:
        status = _say(exc.status, str(exc))
    sys.stdout.flush()
    os._exit(status)  # nothing is open any more; the interpreter's own farewell takes milliseconds


def run(words: list[str]) -> int:
    chosen = options.parse(words[1:], os.path.basename(words[0]))
    if chosen.mode in "pq":
        return _mta(chosen.config, ["queue", "list" if chosen.mode == "p" else "flush"])
    if chosen.mode == "i":
        return 0  # aliases are in the database: nothing to rebuild
    where = place.find(chosen.config)
    text = message.normalise(sys.stdin.buffer.read(), chosen.dot_ends)
    fields, body = message.split(text)
    recipients = list(chosen.recipients)
    if chosen.from_headers:
        recipients += message.recipients_of(fields)
        if not recipients:
            return _say(65, "no recipient in the header of the message")
    if not recipients:
        raise options.Usage("no recipients")
    own = f"{_login()}@{where.hostname}"
    sender = own if chosen.sender is None else _qualified(chosen.sender, where.hostname)
    octets = message.complete(fields, body, sender or own, chosen.name, chosen.from_headers)
    qualified = list(dict.fromkeys(_qualified(address, where.hostname) for address in recipients))
    envelope = submit.Envelope(sender, qualified, chosen.notify, chosen.ret, chosen.envid)
    try:
        submit.by_socket(where.socket, where.hostname, envelope, octets)
    except submit.NotRunning:
        submit.by_maildrop(where.maildrop, envelope, octets)
    except submit.Refused as exc:
        if exc.status != submit.NO_USER or not chosen.mail_errors:
            raise
        submit.by_maildrop(where.maildrop, envelope, octets)  # taken, and bounced
    return 0


def _qualified(address: str, hostname: str) -> str:
    address = address.strip()
    if address.startswith("<") and address.endswith(">"):
        address = address[1:-1]
    if address.startswith("@") or address.endswith("@") or any(c < " " or c == "\x7f" for c in address):
        raise message.Unsendable(f"malformed address {address!r}")
    if " " in address and '"' not in address:
        raise message.Unsendable(f"malformed address {address!r}")
    return f"{address}@{hostname}" if address and "@" not in address else address


def _login() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid{os.getuid()}"


def _mta(config: str, command: list[str]) -> int:
    mta = os.path.join(os.path.dirname(sys.executable), "mta")  # called as mailq, our own name leads elsewhere
    os.execv(sys.executable, [sys.executable, mta, *(["--config", config] if config else []), *command])  # noqa: S606  # a fixed program, no shell


def _say(status: int, text: str) -> int:
    print(f"mta-sendmail: {text}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    main()
