"""One login for SMTP, IMAP and POP3: the hooks ``auth_policy``, ``auth_verify``, ``session_login``, ``auth_result``, and the log
lines that fail2ban reads.

Which SASL mechanisms and when TLS is needed is the protocols' business; so are delays and counts on one connection.
"""
# SPDX-License-Identifier: Apache-2.0

from dataclasses import dataclass
from typing import Any, Protocol

from mta.directory.resolve import First
from mta.model.directory import AuthAnswer, AuthFail, AuthOk, User
from mta.model.errors import TemporaryFailure
from mta.model.verdict import Action, Verdict
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta_hooks.views import Session

MAX_USERNAME = 320  # 64 + "@" + 255 octets of an address


class LoginHooks(Protocol):
    @property
    def auth_policy(self) -> Any | None: ...
    @property
    def auth_verify(self) -> First | None: ...
    @property
    def user_lookup(self) -> First | None: ...
    @property
    def session_login(self) -> Any | None: ...
    @property
    def auth_result(self) -> Any | None: ...


@dataclass(frozen=True, slots=True)
class Denied:
    """Nobody is logged in.

    reason   for the log and for ``auth_result``
    verdict  reject or defer, when a plugin said so; None: name or password wrong, which no peer may tell apart
    known    the password was right, and ``session_login`` refused this session
    """

    reason: str
    verdict: Verdict | None = None
    known: bool = False

    @property
    def temporary(self) -> bool:
        """Not a failed attempt: nothing was said about the password."""
        return self.verdict is not None and self.verdict.action is Action.DEFER

    @property
    def hang_up(self) -> bool:
        return self.verdict is not None and self.verdict.hang_up

    def text(self) -> str:
        """For the peer."""
        return "name or password wrong" if self.verdict is None else self.verdict.text or "not allowed"


class Login:
    """Asks the plugins in order; the first who knows the account decides.

    tasks  where ``auth_result`` is told, so that nobody waits for it; None: before the answer
    """

    def __init__(self, hooks: LoginHooks, log: Log, tasks: Tasks | None = None) -> None:
        self._hooks = hooks
        self._log = log
        self._tasks = tasks

    async def log_in(
        self, service: str, mechanism: str, username: str, password: str, session: Session, *, mailbox: bool = False
    ) -> AuthOk | Denied:
        """The whole of a login. ``mailbox``: an account without one cannot log in. Raises TemporaryFailure like ``authenticate``."""
        try:
            answer = await self._judged(service, mechanism, username, password, session, mailbox)
        except TemporaryFailure:
            await self._tell(session, username, Denied("temporary failure"))
            raise
        await self._tell(session, username, answer)
        return answer

    async def _judged(
        self, service: str, mechanism: str, username: str, password: str, session: Session, mailbox: bool
    ) -> AuthOk | Denied:
        if (plan := self._hooks.auth_policy) is not None:
            decision = await plan.verdict(session=session, mechanism=mechanism, username=username)
            if (verdict := self._refusal(service, username, session, decision)) is not None:
                return Denied("policy", verdict)
        answer = await self.authenticate(service, username, password, session)
        if isinstance(answer, AuthFail):
            return Denied(answer.reason)
        if mailbox and answer.id is None:
            return Denied("account has no mailbox")
        if (plan := self._hooks.session_login) is not None:
            decision = await plan.verdict(session=session, user=answer.user)
            if (verdict := self._refusal(service, username, session, decision)) is not None:
                return Denied("policy", verdict, known=True)
        return answer

    def _refusal(self, service: str, username: str, session: Session, decision: Any) -> Verdict | None:
        verdict: Verdict | None = decision.verdict
        if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
            return None
        self._log.info(
            "auth.refused",
            service=service,
            username=username,
            client=session.client_ip,
            session=session.id,
            plugin=decision.plugin,
            reply=verdict.text,
            reason=verdict.reason,
        )
        return verdict

    async def _tell(self, session: Session, username: str, answer: AuthOk | Denied) -> None:
        if (plan := self._hooks.auth_result) is None:
            return
        reason = answer.reason if isinstance(answer, Denied) else ""
        told = plan.notify(session=session, username=username, ok=not isinstance(answer, Denied), reason=reason)
        if self._tasks is None:
            await told
        else:
            self._tasks.spawn(told, "auth-result")

    async def authenticate(self, service: str, username: str, password: str, session: Session) -> AuthAnswer:
        """Only ``auth_verify``. ``service`` is "smtp", "imap" or "pop3"; ``username`` a full address unless a plugin knows others.

        Raises TemporaryFailure: 454 4.7.0, NO [UNAVAILABLE], -ERR [SYS/TEMP].
        """
        answer: AuthAnswer | None = None
        if (plan := self._hooks.auth_verify) is not None and 0 < len(username) <= MAX_USERNAME and "\0" not in username:
            answer = await plan.first(service=service, username=username, credential=password, session=session)
        if isinstance(answer, AuthOk) and answer.id is None:
            answer = await self._account(service, answer)
        if isinstance(answer, AuthOk):
            self._log.info("auth.ok", service=service, user=answer.user, client=session.client_ip, session=session.id)
            return answer
        reason = answer.reason if answer is not None else "no such account"
        self._log.info("auth.failed", service=service, user=username, client=session.client_ip, session=session.id, reason=reason)
        return answer or AuthFail(reason)

    async def _account(self, service: str, answer: AuthOk) -> AuthAnswer:
        """A plugin that knows passwords knows no mailboxes: the account behind the name is the directory's, and its to disable."""
        if (plan := self._hooks.user_lookup) is None:
            return answer
        user: User | None = await plan.first(service=service, username=answer.user)
        if user is None:
            return answer
        return AuthOk(answer.user, user.id) if user.enabled else AuthFail("account is disabled")
