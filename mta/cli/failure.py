"""Exit statuses of sysexits.h for failures with a meaning."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.errors import AlreadyExists, ConfigError, MailError, NoSuchMailbox, NoSuchUser, Refused, TemporaryFailure

USAGE, DATAERR, NOUSER, UNAVAILABLE, CANTCREAT, TEMPFAIL, NOPERM, CONFIG = 64, 65, 67, 69, 73, 75, 77, 78


def status_of(exc: BaseException) -> int | None:
    """None: a bug, to be seen with its traceback."""
    if isinstance(exc, ConfigError):
        return CONFIG
    if isinstance(exc, NoSuchUser | NoSuchMailbox):
        return NOUSER
    if isinstance(exc, AlreadyExists):
        return CANTCREAT
    if isinstance(exc, TemporaryFailure):
        return TEMPFAIL
    if isinstance(exc, Refused):
        return NOPERM
    if isinstance(exc, MailError):
        return UNAVAILABLE
    return None


def text_of(exc: BaseException) -> str:
    """What the operator reads."""
    text = str(exc)
    return f"{text}: exists already, nothing was changed" if isinstance(exc, AlreadyExists) and " " not in text else text
