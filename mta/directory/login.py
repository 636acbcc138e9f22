"""One login for SMTP, IMAP and POP3: the ``auth_verify`` hook, and the log line that fail2ban reads.

Which SASL mechanisms and when TLS is needed is the protocols' business; so are delays and counts on one connection.
"""
# SPDX-License-Identifier: Apache-2.0

from typing import Protocol

from mta.directory.resolve import First
from mta.model.directory import AuthAnswer, AuthFail, AuthOk
from mta.obs.log import Log
from mta_hooks.views import Session

MAX_USERNAME = 320  # 64 + "@" + 255 octets of an address


class LoginHooks(Protocol):
    @property
    def auth_verify(self) -> First | None: ...


class Login:
    """Asks the plugins in order; the first who knows the account decides."""

    def __init__(self, hooks: LoginHooks, log: Log) -> None:
        self._hooks = hooks
        self._log = log

    async def authenticate(self, service: str, username: str, password: str, session: Session) -> AuthAnswer:
        """``service`` is "smtp", "imap" or "pop3"; ``username`` a full address unless a plugin knows other names.

        Raises TemporaryFailure: 454 4.7.0, NO [UNAVAILABLE], -ERR [SYS/TEMP].
        """
        answer: AuthAnswer | None = None
        if (plan := self._hooks.auth_verify) is not None and 0 < len(username) <= MAX_USERNAME and "\0" not in username:
            answer = await plan.first(service=service, username=username, credential=password, session=session)
        if isinstance(answer, AuthOk):
            self._log.info("auth.ok", service=service, user=answer.user, client=session.client_ip, session=session.id)
            return answer
        reason = answer.reason if answer is not None else "no such account"
        self._log.info("auth.failed", service=service, user=username, client=session.client_ip, session=session.id, reason=reason)
        return answer or AuthFail(reason)
