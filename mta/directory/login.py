"""One login for SMTP, IMAP, POP3 and HTTP: the hooks ``auth_policy``, ``auth_verify``, ``credentials_lookup``, ``session_login``,
``auth_result``, and the log lines that fail2ban reads.

Which SASL mechanisms there are is ``mta.directory.sasl``; delays and counts on one connection are the protocols' business.
"""
# SPDX-License-Identifier: Apache-2.0

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mta.directory.resolve import First
from mta.model.directory import AuthAnswer, AuthFail, AuthOk, StoredKeys, User
from mta.model.errors import TemporaryFailure
from mta.model.verdict import Action, Verdict
from mta.net.tasks import Tasks
from mta.obs.log import Log
from mta.obs.metrics import LOGINS
from mta.wire.sasl import Claim, Credentials, Rejected
from mta_hooks.views import Session

MAX_USERNAME = 320  # 64 + "@" + 255 octets of an address


EVENTFUL = frozenset({"smtp", "imap", "pop3"})
"""Services with sessions: a request over HTTP brings its password every time."""


class LoginHooks(Protocol):
    @property
    def auth_policy(self) -> Any | None: ...
    @property
    def auth_verify(self) -> First | None: ...
    @property
    def credentials_lookup(self) -> First | None: ...
    @property
    def user_lookup(self) -> First | None: ...
    @property
    def session_login(self) -> Any | None: ...
    @property
    def auth_result(self) -> Any | None: ...
    @property
    def mailbox_event(self) -> Any | None: ...
    @property
    def occurrences(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class Denied:
    """Nobody is logged in.

    reason   for the log and for ``auth_result``
    verdict  reject or defer, when a plugin said so; None: name or password wrong, which no peer may tell apart
    known    the password was right, and ``session_login`` refused this session, or another account was to be acted for
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
        if self.verdict is not None:
            return self.verdict.text or "not allowed"
        return "acting for others is not possible" if self.known else "name or password wrong"


class Refusal(Exception):  # noqa: N818  # ends a run of a mechanism
    """A plugin does not let this attempt go on."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.reason)
        self.denied = denied


def _unnoted(_decision: Any) -> None:
    """A protocol without a trace."""


@dataclass(slots=True)
class Attempt:
    """Somebody wants to log in.

    mechanism  as ``auth_policy`` hears it
    mailbox    an account without one cannot log in
    note       told what plugins decided, for the trace
    asked      names for which ``auth_policy`` was asked
    """

    service: str
    mechanism: str
    session: Session
    mailbox: bool = False
    note: Callable[[Any], None] = _unnoted
    asked: set[str] = field(default_factory=set)


class Login:
    """Asks the plugins in order; the first who knows the account decides.

    tasks  where ``auth_result`` is told, so that nobody waits for it; None: before the answer
    """

    def __init__(self, hooks: LoginHooks, log: Log, tasks: Tasks | None = None) -> None:
        self._hooks = hooks
        self._log = log
        self._tasks = tasks

    async def log_in(self, attempt: Attempt, claim: Claim) -> AuthOk | Denied:
        """The end of an attempt: what the client claims, tried. Raises TemporaryFailure like ``authenticate``."""
        try:
            answer = await self._judged(attempt, claim)
        except TemporaryFailure:
            LOGINS[attempt.service, "unavailable"].value += 1
            await self.tell(attempt, claim.username, Denied("temporary failure"))
            raise
        await self.tell(attempt, claim.username, answer)
        return answer

    async def keys(self, attempt: Attempt, username: str) -> StoredKeys | None:
        """Stored keys of an account. Raises Refusal when ``auth_policy`` does not let it go on, TemporaryFailure."""
        if (denied := await self._consider(attempt, username)) is not None:
            raise Refusal(denied)
        plan = self._hooks.credentials_lookup
        if plan is None or not _is_name(username):
            return None
        found: StoredKeys | None = await plan.first(service=attempt.service, username=username)
        return found

    def left(self, service: str, session: Session) -> None:
        """A connection has ended: the mailbox event Logout, where somebody was logged in."""
        if self._hooks.mailbox_event is not None and session.user:
            self._event("Logout", session.user, service, session)

    def _event(self, event: str, user: str, service: str, session: Session) -> None:
        if service in EVENTFUL:
            self._hooks.occurrences.tell(event, user, protocol=session.protocol, client=session.client_ip, session=session.id)

    async def _judged(self, attempt: Attempt, claim: Claim) -> AuthOk | Denied:
        service, username, session = attempt.service, claim.username, attempt.session
        if (denied := await self._consider(attempt, username)) is not None:
            return denied
        if isinstance(claim, Rejected):
            answer: AuthAnswer = self._logged(service, username, session, AuthFail(claim.reason))
        elif isinstance(claim, Credentials):
            answer = await self.authenticate(service, username, claim.password, session)
        else:
            answer = self._logged(service, username, session, await self._identified(service, username))
        if isinstance(answer, AuthFail):
            return Denied(answer.reason)
        if not isinstance(claim, Rejected) and claim.authzid not in ("", username, answer.user):
            return Denied("may not act for another account", known=True)
        if attempt.mailbox and answer.id is None:
            return Denied("account has no mailbox")
        if (plan := self._hooks.session_login) is not None:
            decision = await plan.verdict(session=session, user=answer.user)
            attempt.note(decision)
            if (verdict := self._refusal(service, username, session, decision)) is not None:
                return Denied("policy", verdict, known=True)
        return answer

    async def _consider(self, attempt: Attempt, username: str) -> Denied | None:
        """``auth_policy``, once for each name."""
        if (plan := self._hooks.auth_policy) is None or username in attempt.asked:
            return None
        attempt.asked.add(username)
        decision = await plan.verdict(session=attempt.session, mechanism=attempt.mechanism, username=username)
        attempt.note(decision)
        verdict = self._refusal(attempt.service, username, attempt.session, decision)
        return None if verdict is None else Denied("policy", verdict)

    def _refusal(self, service: str, username: str, session: Session, decision: Any) -> Verdict | None:
        verdict: Verdict | None = decision.verdict
        if verdict is None or verdict.action not in (Action.REJECT, Action.DEFER):
            return None
        LOGINS[service, "refused"].value += 1
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

    async def tell(self, attempt: Attempt, username: str, answer: AuthOk | Denied) -> None:
        """``auth_result``, and the mailbox event Login; ``log_in`` does it by itself."""
        if self._hooks.mailbox_event is not None and isinstance(answer, AuthOk):
            self._event("Login", answer.user, attempt.service, attempt.session)
        if (plan := self._hooks.auth_result) is None:
            return
        reason = answer.reason if isinstance(answer, Denied) else ""
        told = plan.notify(session=attempt.session, username=username, ok=not isinstance(answer, Denied), reason=reason)
        if self._tasks is None:
            await told
        else:
            self._tasks.spawn(told, "auth-result")

    async def authenticate(self, service: str, username: str, password: str, session: Session) -> AuthAnswer:
        """Only ``auth_verify``. ``service`` is "smtp", "imap", "pop3" or "http"; ``username`` a full address unless a plugin knows others.

        Raises TemporaryFailure: 454 4.7.0, NO [UNAVAILABLE], -ERR [SYS/TEMP].
        """
        answer: AuthAnswer | None = None
        if (plan := self._hooks.auth_verify) is not None and _is_name(username):
            answer = await plan.first(service=service, username=username, credential=password, session=session)
        if isinstance(answer, AuthOk) and answer.id is None:
            answer = await self._account(service, answer)
        return self._logged(service, username, session, answer or AuthFail("no such account"))

    async def _identified(self, service: str, username: str) -> AuthAnswer:
        """Proved by a mechanism: the account behind the name is the directory's. Nobody there: not ours to let in."""
        if (plan := self._hooks.user_lookup) is None or not _is_name(username):
            return AuthFail("no such account")
        user: User | None = await plan.first(service=service, username=username)
        if user is None:
            return AuthFail("no such account")
        return AuthOk(str(user.address), user.id) if user.enabled else AuthFail("account is disabled")

    async def _account(self, service: str, answer: AuthOk) -> AuthAnswer:
        """A plugin that knows passwords knows no mailboxes: the account behind the name is the directory's, and its to disable."""
        if (plan := self._hooks.user_lookup) is None:
            return answer
        user: User | None = await plan.first(service=service, username=answer.user)
        if user is None:
            return answer
        return AuthOk(answer.user, user.id) if user.enabled else AuthFail("account is disabled")

    def _logged(self, service: str, username: str, session: Session, answer: AuthAnswer) -> AuthAnswer:
        LOGINS[service, "ok" if isinstance(answer, AuthOk) else "failed"].value += 1
        if isinstance(answer, AuthOk):
            more = {"app_password": answer.app_password} if answer.app_password else {}
            self._log.info("auth.ok", service=service, user=answer.user, client=session.client_ip, session=session.id, **more)
        else:
            self._log.info(
                "auth.failed", service=service, user=username, client=session.client_ip, session=session.id, reason=answer.reason
            )
        return answer


def _is_name(username: str) -> bool:
    return 0 < len(username) <= MAX_USERNAME and "\0" not in username
