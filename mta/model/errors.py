"""Failures with a meaning. Who answers what with each is in its docstring; everything else is a bug (451 4.3.0, NO [SERVERBUG])."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.delivery import Trouble
from mta.model.ids import UserId
from mta.model.reply import Reply


class MailError(Exception):
    """Base of the failures below. The text is for the log; it never reaches a peer."""


class Refused(MailError):
    """An answer for the peer, with a private detail for the log."""

    def __init__(self, reply: Reply, detail: str = "") -> None:
        super().__init__(detail or str(reply))
        self.reply = reply
        self.detail = detail


class TemporaryFailure(MailError):
    """Try again later: SMTP 451 4.3.0, IMAP NO [UNAVAILABLE], POP3 -ERR [SYS/TEMP]; the queue retries."""


class HookFailed(TemporaryFailure):
    """A hook failed by a mistake of its plugin, and its on_error is not continue. After acceptance the error hold counts these."""

    def __init__(self, text: str, trouble: Trouble) -> None:
        super().__init__(text)
        self.trouble = trouble


class StorageFull(TemporaryFailure):
    """No room on the disk or below the reserve: SMTP 452 4.3.1, IMAP NO [OVERQUOTA]. Reading and deleting go on."""


class StorageReadOnly(TemporaryFailure):
    """The file system refuses writes: SMTP 451 4.3.0, IMAP NO [UNAVAILABLE]; mailboxes open read-only."""


class StorageDead(MailError):
    """fsync or commit failed in a way that leaves the disk's state unknown (EIO).

    The worker stops acknowledging at once and exits non-zero; nothing is retried in this process
    (a second fsync may lie).
    """


class OverQuota(MailError):
    """The account is full: SMTP 552 5.2.2 at RCPT or per recipient, IMAP NO [OVERQUOTA]. ``users``: whose, all of them."""

    def __init__(self, detail: str = "", users: tuple[UserId, ...] = ()) -> None:
        super().__init__(detail)
        self.users = users


class NoSuchMailbox(MailError):
    """IMAP NO [NONEXISTENT] (or [TRYCREATE] for APPEND, COPY, MOVE)."""


class MailboxExists(MailError):
    """IMAP NO [ALREADYEXISTS]."""


class MailboxNotAllowed(MailError):
    """A name or operation that the store refuses (INBOX deleted, name too long, too deep): IMAP NO [CANNOT]."""


class NoSuchUser(MailError):
    """Names the address that the directory does not know."""


class AlreadyExists(MailError):
    """A domain, user or alias that is there already; the command line says so and changes nothing."""


class ConfigError(MailError):
    """What the operator must mend: where (``file:line``), key, problem, fix. Exit status 78."""

    def __init__(self, where: str, key: str, problem: str, fix: str = "") -> None:
        super().__init__(f"{where}: {key}: {problem}" + (f"{'' if problem.endswith('.') else '.'} Fix: {fix}" if fix else ""))
        self.where, self.key, self.problem, self.fix = where, key, problem, fix
