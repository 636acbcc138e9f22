"""Every hook that exists, with its arguments, mode and the verdicts it may give. docs/hooks/ is generated from here.

Modes: *verdict* walks the plugins in order until one gives a final verdict (scores add up); *first* takes the first
answer that is not None; *all* collects every answer that is not None; *pipeline* hands a value through; *notify* tells,
errors never touch mail; *durable* is notify through the outbox: a row written with the message's own transaction,
called at least once, retried, dead-lettered; *load* is called once while loading and may not be ``async``.

An implementation names only the arguments it wants; ``ctx`` (mta_hooks.services.Context) can be named in every one.
"""
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mta_hooks.markers import hookspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mta.model.address import Address
    from mta.model.delivery import DeliveryAnswer, DeliveryPolicy, DeliveryRecord, DeliveryStatus, Route
    from mta.model.directory import AliasTarget, AuthAnswer, Domain, StoredKeys, Target, User
    from mta.model.message import Placement, Recipient
    from mta.model.reply import Reply
    from mta.model.tls import TlsPolicy, TlsResult
    from mta.model.verdict import Verdict
    from mta.wire.dsn.parse import ReceivedReport
    from mta.wire.imap.other import ImapCommand
    from mta_hooks.capabilities import ImapReply
    from mta_hooks.edits import AddHeader, DeliveryEdit, Edit
    from mta_hooks.results import AuthResult, Health
    from mta_hooks.services import Registry, Server
    from mta_hooks.views import (
        Attempt,
        DsnReport,
        Envelope,
        LogRecord,
        MailboxEvent,
        Message,
        Part,
        Session,
        Sink,
        Tls,
        TlsCertificate,
        Transaction,
        UserChange,
    )

SESSION = ("accept", "reject", "defer")
STREAM = ("accept", "reject", "defer", "discard", "quarantine", "hold")
RCPT = ("accept", "reject", "defer", "discard", "quarantine", "hold", "redirect")
ATTEMPT = ("accept", "reject", "defer", "hold", "redirect")
MESSAGE = ("accept", "reject", "defer", "discard", "quarantine", "hold", "redirect")


@hookspec("load")
def register(registry: Registry) -> None:
    """Say what the plugin brings: config model, backends, jobs."""


@hookspec("all", on_error="defer", timeout=30.0)
def startup(server: Server) -> None:
    """A worker is about to accept connections. Raising refuses the start when the plugin is required."""


@hookspec("all", on_error="defer", timeout=10.0)
def config_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | list[str] | None:
    """A reload is about to take effect: anything wrong with it? Each answer is an error that the operator reads; any refuses the
    reload, and the server goes on with the old config.

    Asked in every new worker before ``startup``, of the plugins of the new config, whose own section is ``ctx.config`` as always.
    ``old`` and ``new`` are the sections of the file as plain values, defaults filled in, without ``database``, ``plugins`` and
    passwords. Not asked at the first start.
    """


@hookspec("all", timeout=10.0)
def health_check() -> Health | None:
    """How is the plugin, and what it depends on? Asked every half minute by one worker for all; for ``mta doctor`` and the log.

    Answer a Health in every case: one that fails, takes too long or answers ``None`` is taken for failed. The state is shown and
    logged when it changes (``plugin.health``); mail goes on as the other hooks of the plugin have it.
    """


@hookspec("all", timeout=10.0)
def shutdown(server: Server) -> None:
    """A worker has served its last connection."""


@hookspec("verdict", allowed=SESSION, on_error="defer")
def smtp_connect(session: Session) -> Verdict | None:
    """A client connected; nothing was said yet. Asked over SMTP, submission, LMTP, IMAP and POP3 (``session.protocol``), not HTTP.

    reject and defer answer 554 or 421 (IMAP: BYE, POP3: -ERR) and close.
    """


@hookspec("first", on_error="continue", timeout=5.0)
def tls_certificate(session: Session, server_name: str) -> TlsCertificate | None:
    """A client begins TLS and asks for the server of this name (SNI, in lower case; "": it names none): with which certificate?

    Asked before the handshake goes on, for every protocol, on TLS ports and after STARTTLS; on TLS ports ``session`` has only
    protocol and addresses. None from everyone: config ``tls.certificates`` by name, then ``tls.certificate``. The answer is kept
    ready for the next client, as long as it is the same; one that cannot be used counts as None.
    """


@hookspec("verdict", allowed=SESSION, on_error="defer")
def smtp_ehlo(session: Session, name: str, verb: str) -> Verdict | None:
    """HELO, EHLO or LHLO with ``name`` as given."""


@hookspec("verdict", allowed=SESSION, on_error="defer")
def smtp_tls(session: Session, tls: Tls) -> Verdict | None:
    """An SMTP, submission or LMTP session is under TLS now: after STARTTLS, or before the greeting where TLS comes first.

    reject and defer answer the client's next command (or take the greeting's place, as 554 or 421) and close.
    """


@hookspec("pipeline", on_error="continue")
def smtp_capabilities(session: Session, capabilities: Sequence[str]) -> list[str] | None:
    """What the reply to EHLO or LHLO offers, one line each ("SIZE 1000", "AUTH PLAIN LOGIN"): add, change or hide.

    A line hidden is still obeyed when the client uses it all the same. Each is a keyword and parameters of printable ASCII.
    """


@hookspec("verdict", allowed=SESSION, on_error="defer")
def auth_policy(session: Session, mechanism: str, username: str) -> Verdict | None:
    """Somebody is about to log in; the password was sent and is not tried yet. For lockouts; waiting here slows the client.

    reject answers as a wrong password does (535 5.7.8 with the verdict's text) and counts as one; defer answers 454.
    A code that RFC 4954 §6 knows (530, 534, 538) is kept. IMAP answers NO [AUTHENTICATIONFAILED] or NO [UNAVAILABLE], POP3 -ERR
    [AUTH] or -ERR [SYS/TEMP]. ``mechanism`` is "LOGIN" for IMAP's command of that name, "USER" for POP3's USER and PASS, "BASIC" for HTTP.
    """


@hookspec("notify")
def auth_result(session: Session, username: str, ok: bool, reason: str) -> None:
    """A login succeeded or failed; ``reason`` says why it failed: "wrong password", "policy", "temporary failure", …"""


@hookspec("verdict", allowed=SESSION, on_error="defer")
def session_login(session: Session, user: str) -> Verdict | None:
    """The password was right: may this account use this session? ``session.user`` is set only afterwards.

    Asked by SMTP, IMAP and POP3; ``session.protocol`` tells. reject and defer answer like those of ``auth_policy`` (IMAP: reject is
    NO [AUTHORIZATIONFAILED]), and nobody is logged in.
    """


@hookspec("first", on_error="defer", timeout=10.0)
def auth_verify(service: str, username: str, credential: str, session: Session) -> AuthAnswer | None:
    """Is this the password of this account? None: not mine, ask the next. Asked by SMTP, IMAP and POP3 alike.

    An error or time-out answers "temporary authentication failure" (454 4.7.0, NO [UNAVAILABLE], -ERR [SYS/TEMP]).
    """


@hookspec("first", on_error="defer", timeout=10.0)
def credentials_lookup(service: str, username: str) -> StoredKeys | None:
    """The keys kept for this account's password, for mechanisms that never see it: SCRAM (RFC 5802). None: not mine, ask the next.

    Asked after ``auth_policy``, by mechanisms that look them up, over any protocol. An account that may not log in has none. What
    ``mta_hooks.sasl.ScramKeys`` holds proves a password and is no password; keep it as safe as a hash all the same.
    """


@hookspec("verdict", allowed=SESSION, on_error="defer")
def smtp_mail(
    session: Session, transaction: Transaction, sender: Address | None, params: Mapping[str, str | None]
) -> Verdict | None:
    """MAIL FROM, after syntax, state and limits."""


@hookspec("verdict", allowed=RCPT, on_error="defer")
def smtp_rcpt(session: Session, transaction: Transaction, recipient: Address, params: Mapping[str, str | None]) -> Verdict | None:
    """One RCPT TO, after syntax, state and limits, in order.

    accept lets the recipient in whatever the directory says (this is how a plugin relays); without an accept the
    directory and the relay rules decide. redirect replaces it.
    """


@hookspec("first", on_error="defer")
def rcpt_policy_key(session: Session, transaction: Transaction, recipient: Address) -> str | None:
    """Which rules judge mail for this recipient, who was just accepted? Equal keys: the same. None: goes with any.

    Asked for plain SMTP only, where all recipients of a message get one reply: one with another key than the first is told
    452 4.5.3, so that the client sends the message once more for it. LMTP and submission need no such thing.
    """


@hookspec("verdict", allowed=STREAM, on_error="defer")
def smtp_data(session: Session, transaction: Transaction) -> Verdict | None:
    """DATA, after all recipients and before 354, or the first BDAT: the last moment at which a refusal saves the transfer.

    discard, quarantine and hold are kept for the message; a later verdict may still refuse it.
    """


@hookspec("verdict", allowed=STREAM, on_error="defer", scores=True)
def message_headers(session: Session, transaction: Transaction, headers: Sequence[tuple[str, str]]) -> Verdict | None:
    """The header is complete, the body is not read yet: (name, value) pairs in order, values unfolded.

    After a refusal nothing more is kept, and the client is told at the message's end, where SMTP has its reply. A message
    that comes whole (sendmail's maildrop, ``ctx.send``) is judged before its stages.
    """


@hookspec("all", allowed=STREAM, on_error="defer", scores=True)
def message_sink(session: Session, transaction: Transaction) -> Sink | None:
    """Before 354, or before the first chunk of BDAT: an object that wants the message while it arrives, made for this one transaction.

    Its ``feed(octets)`` gets every octet once, in order, in pieces as they come (dots unstuffed, header first); its ``close()``
    is called at the end and answers a verdict, or None. Both may be ``def`` or ``async def``, each within the time below. A
    message that does not come to its end is not closed: the object is dropped.
    """


@hookspec("verdict", allowed=STREAM, on_error="defer", timeout=20.0, scores=True)
def mime_part(message: Message, part: Part) -> Verdict | None:
    """One part of the complete message, before the other stages: leaves and messages inside, in order.

    ``@hookimpl(types=("application/pdf", "image/*"))`` is asked only of parts of these types. ``part.octets`` is decoded when
    somebody looks. accept ends the questions about this part.
    """


@hookspec("pipeline", on_error="continue")
def smtp_reply(session: Session, command: str, reply: Reply) -> Reply | None:
    """A reply is about to be sent; answer one with another ``text`` (``dataclasses.replace``), its codes are fixed.

    ``command`` is the verb it answers, "" for the greeting, "." for the end of a message. Not asked for what has a form of its
    own (the reply to EHLO, AUTH challenges) nor when the server hangs up by itself (time-outs, shutdown, too many errors).
    """


@hookspec("first", on_error="defer")
def smtp_command(session: Session, verb: str, args: str) -> Reply | None:
    """The client sent a command that SMTP does not know and this implementation registered: ``@hookimpl(verbs=("XPING",))``.

    ``args`` is the rest of the line. None: 500, as for every unknown verb. Offer it in ``smtp_capabilities``.
    """


@hookspec("first", on_error="defer", timeout=10.0)
def imap_command(session: Session, command: ImapCommand) -> ImapReply | None:
    """The client sent a command that IMAP does not know and this implementation registered: ``@hookimpl(verbs=("XPING",))``.

    ``command.arguments``: atoms, strings and literals are str, NIL is None, a list in parentheses a list. Asked before login too: look at
    ``session.user``. None: BAD, as for every unknown command. To advertise it, ``registry.capability``.
    """


@hookspec("first", on_error="continue")
def verdict_override(
    session: Session | None, transaction: Transaction | None, hook: str, plugin: str, verdict: Verdict
) -> Verdict | None:
    """A plugin decided something other than accept: let it stand (None), or put another verdict in its place.

    accept drops the verdict, and the next plugin is asked as if there had been none; every other must be one that ``hook``
    allows, ``add_score`` where it takes scores. Not asked for errors of plugins. Both names are logged and in the trace.
    ``transaction`` and ``session`` are None where the hook has none.
    """


@hookspec("notify")
def smtp_reset(session: Session, reason: str, transaction: Transaction) -> None:
    """A mail transaction ended: "message" (it was answered), "refused" (DATA was), "rset", "ehlo", "starttls" or "disconnect".

    Told exactly once for each transaction, whatever became of it: what is kept for it can be dropped here.
    """


@hookspec("notify")
def smtp_disconnect(session: Session, reason: str) -> None:
    """A connection ended: "quit", "timeout", "shutdown", "refused" (by a greeting), "errors" (too many), "closed" by us after
    another refusal, or "lost" when the client went first. Told exactly once for each connection of any protocol."""


@hookspec("all", on_error="continue", timeout=20.0)
def message_authenticate(session: Session, message: Message) -> AuthResult | list[AuthResult] | None:
    """First message stage: who signed it, who may send it. Results are merged into one Authentication-Results field."""


@hookspec("verdict", allowed=MESSAGE, on_error="defer", timeout=30.0, scores=True, each=True)
def message_check(
    session: Session, message: Message, recipients: Sequence[Recipient], results: Sequence[AuthResult]
) -> Verdict | Mapping[Address, Verdict] | None:
    """Second stage: judge the message. ``add_score`` leaves the decision to the sum (config ``spam``).

    A mapping from addresses of ``recipients`` to verdicts judges each; the next plugin is asked for the others. What the peer
    is told then: LMTP has a reply for each recipient; a submission is refused as a whole, naming the one refused; plain SMTP
    has one reply, so a message that only some may have is accepted, and config ``spam.mixed_verdict`` says what becomes of
    it for the others. Nobody is sent a bounce.
    """


@hookspec("first", allowed=MESSAGE, on_error="defer", each=True)
def message_verdict(
    message: Message, scores: Mapping[str, float], recipients: Sequence[Recipient]
) -> Verdict | Mapping[Address, Verdict] | None:
    """Third stage: the final decision over all scores (by plugin), for ``recipients`` whom ``message_check`` left undecided.

    accept takes the message whatever its score; None from everyone: config ``spam`` decides. A mapping as in
    ``message_check``; the config decides on those it leaves out.
    """


@hookspec("all", on_error="continue", timeout=10.0)
def message_modify(message: Message, recipients: Sequence[Recipient]) -> Edit | list[Edit] | None:
    """Fourth stage: edits of header, body, parts, recipients and sender, applied in plugin order after all have answered.

    ``message`` is what came in; Received and Authentication-Results of this server are not on it yet, and edits do not reach them.
    New bodies and parts get the transfer encoding that they need; a signature over what was changed is broken. An edit that
    cannot be done (no such part, an unknown recipient, a bare control character) is logged and left out, the others are done.
    Without any recipient left the message is thrown away.
    """


@hookspec("all", on_error="defer", timeout=10.0)
def message_sign(message: Message) -> AddHeader | list[AddHeader] | None:
    """Last stage: header additions over the final octets; the message is frozen afterwards."""


@hookspec("pipeline", on_error="defer")
def address_rewrite(address: Address, role: str, transaction: Transaction) -> Address | None:
    """Another form of an address. ``role``: "envelope_sender", "envelope_recipient", "header_sender" (From, Sender, Reply-To, …) or
    "header_recipient" (To, Cc, …).

    Asked at MAIL and RCPT before the hooks and look-ups of those, with the originals kept for reports; for header fields once
    for each address before ``message_modify``, when the message was checked as it came. In a field everything but the address
    keeps its octets: names, comments, groups, folding. Not asked for reports of this server. What cannot stand in a field
    (an address that needs SMTPUTF8 in a message without) is logged and left.
    """


@hookspec("pipeline", on_error="defer")
def queue_enqueue(message: Message, envelopes: Sequence[Envelope]) -> list[Envelope] | None:
    """A message is about to be taken, the stages are behind it: split its recipients, hold, put off, hurry or drop some.

    ``envelopes`` is one with all final recipients, mailboxes here among them, or what the plugin before made of it. Each answered
    envelope has some of these recipients, nobody twice, and its own ``hold``, ``due`` and ``priority``; the rest is fixed. Who
    is in none gets nothing; without any envelope the message is thrown away. A mailbox's mail is put into the queue where
    it is held or put off. Not asked for reports of this server.
    """


@hookspec("pipeline", on_error="defer", timeout=10.0)
def queue_admin(action: str, envelopes: Sequence[Envelope], data: Mapping[str, str]) -> list[Envelope] | None:
    """Somebody is about to change the queue: ``action`` is "retry", "hold", "release", "release_quarantine", "delete", "reroute",
    "requeue" (addresses are looked up again) or "edit".

    Answer the envelopes for which it shall be done: with fewer recipients or none, never with others. An error stops the
    command with exit status 75, before anything is done. A long queue is shown in pieces of 1,000 recipients. An edit is done when
    nobody is left out. ``data`` has "by" ("command"), and "reason" for hold, "route" for reroute, "add" and "remove" with addresses for edit. Asked by ``mta queue``
    in the command's own process: ``startup`` was not called there, and ``ctx.dns`` and ``ctx.send`` have nothing behind them.
    """


@hookspec("first", on_error="defer")
def domain_lookup(domain: str) -> Domain | None:
    """Is this domain ours?"""


@hookspec("first", on_error="defer")
def recipient_lookup(address: Address) -> Target | None:
    """Who is this address of a domain of ours? None from everyone: 550 5.1.1. The full address is asked first, then
    without "+detail", then the catch-all ``@domain`` (an Address with local "")."""


@hookspec("first", on_error="defer")
def alias_expand(address: Address) -> AliasTarget | None:
    """Does this address stand for others? Asked before ``recipient_lookup``; loops are cut by the engine."""


@hookspec("first", on_error="defer")
def user_lookup(service: str, username: str) -> User | None:
    """The account of this login name, without its credential."""


@hookspec("verdict", allowed=SESSION, on_error="defer", timeout=10.0)
def user_change(user: str, change: UserChange) -> Verdict | None:
    """An account is about to be added, deleted, or given a password or a quota: for password rules, protected accounts, audits.

    Asked by the commands ``mta user add, import, passwd, quota, delete``, in the command's own process: ``startup`` was not called
    there, and ``ctx.dns`` and ``ctx.send`` have nothing behind them. reject ends the command with the verdict's text and exit
    status 77, defer with 75; nothing of it is done, with ``import`` not for any account.
    """


@hookspec("first", on_error="defer")
def route(sender: Address | None, recipient: Address) -> Route | None:
    """Where does this recipient go next? None from everyone: config ``routes``, then the smarthost, then MX."""


@hookspec("first", on_error="continue")
def delivery_policy(envelope: Envelope, site: str) -> DeliveryPolicy | None:
    """How hard to try: connections and transactions a second to ``site``, waits between attempts, lifetime, delay warning. None: config ``queue``.

    Asked before each attempt, once for the recipients of a message that go the same way; not for mailboxes. ``site`` is what
    connections are counted by: a domain, or "smtp:host:port" of a route or smarthost.
    """


@hookspec("verdict", allowed=ATTEMPT, on_error="defer", timeout=10.0)
def delivery_attempt(envelope: Envelope, attempt: Attempt) -> Verdict | None:
    """A message is about to be handed to the next hop; nothing is connected for it yet. The verdict is for all of ``envelope``.

    defer puts it off: ``defer(text, delay=seconds)``, without a delay as the retry schedule says; it counts as an attempt, so
    the lifetime ends it. reject gives it up: the sender gets a report. hold keeps it until ``mta queue release``, after which
    this plugin cannot hold the next attempt. redirect sends it to other addresses, the sender stays. Not asked for mailboxes, nor
    while the whole site is known to be down.
    """


@hookspec("first", on_error="defer", timeout=10.0)
def mx_lookup(domain: str, envelope: Envelope) -> list[str] | None:
    """The mail servers of ``domain``, best first, instead of what DNS says: names, or addresses as "[192.0.2.1]".

    Asked when a connection has to be made for ``envelope``; it may then carry other messages to the domain too. Not asked
    when config or the ``route`` hook names the next hop.
    """


@hookspec("first", on_error="defer")
def tls_policy(domain: str, mx: str) -> str | TlsPolicy | None:
    """How safe must the connection to ``mx``, a mail server of ``domain``, be: "none", "may", "require" or "encrypt"?

    "may" is TLS where it works, with any certificate; "require" goes on only under TLS, with any; "encrypt" only with a good
    certificate for ``mx``. A ``TlsPolicy`` says more: DANE's records, a policy that is only tested, why the host cannot be used, where the
    policy was published. Asked for each host of a domain that is about to be tried; not where config (``tls_policies`` too) or the
    ``route`` hook says it. When it is not known, the host is passed over.
    """


@hookspec("notify", timeout=30.0)
def tls_result(result: TlsResult) -> None:
    """What came of TLS with a mail server of a domain: for reports (RFC 8460), statistics, alarms.

    Told once for each connection that was to be made to a host found by MX, also when the policy forbade it: how the first attempt ended.
    A failure did not always keep the mail from going (level "may", ``testing``). Not told where the level is "none".
    """


@hookspec("all", on_error="continue", timeout=10.0)
def delivery_modify(envelope: Envelope, message: Message) -> DeliveryEdit | list[DeliveryEdit] | None:
    """Edits of header, body, parts, sender and recipients for one attempt, in plugin order after all have answered; what is stored stays as it was.

    For what depends on the next hop or must not be kept: ``envelope`` has the recipients of this attempt. An edit of a field that
    is signed breaks the signature. Not asked for mailboxes.
    """


@hookspec("pipeline", on_error="continue")
def delivery_status(envelope: Envelope, recipient: Address, status: DeliveryStatus) -> DeliveryStatus | None:
    """A next hop refused a recipient, for now or for good: say what it means, with ``dataclasses.replace(status, code=…)``.

    4xx is tried again, after ``delay`` when it is given; 5xx is given up and reported. ``envelope`` has this recipient only. Not
    asked about those who were taken, nor when the hop could not be reached.
    """


@hookspec("first", on_error="defer", timeout=60.0)
def deliver(recipient: Address, sender: Address | None, message: Message) -> DeliveryAnswer | None:
    """Deliver to one local recipient in your own way; None: not mine. Delivered, Deferred or Failed.

    Runs after acceptance, from the queue, at least once for each recipient (``message.id`` makes it idempotent).
    """


@hookspec("pipeline", on_error="continue")
def mailbox_deliver(user: str, recipient: Address, message: Message, placement: Placement) -> Placement | None:
    """Choose folder, flags, keywords, copies, or drop."""


@hookspec("pipeline", on_error="defer", timeout=30.0)
def message_read(user: str, message: Message, stream: bytes) -> bytes | None:
    """Somebody reads a message of a mailbox: what shall be shown in place of its octets? To decrypt, or to transform.

    ``stream`` is what the plugin before made of ``message.raw``, which is stored; ``message.notes`` has "mailbox" and "uid". Asked for
    FETCH of octets, sizes and structure, for SEARCH in text, and for all messages of an inbox when POP3 opens it, since sizes
    must be those of what is shown. Answer the same for the same message every time: answers are kept for a while, and
    clients keep theirs. SORT and THREAD go by the header that is stored. While it fails, the message cannot be read (NO
    [UNAVAILABLE], -ERR [SYS/TEMP]).
    """


@hookspec("verdict", allowed=SESSION, on_error="defer", timeout=30.0)
def mailbox_append(
    session: Session, mailbox: str, how: str, message: Message | None, flags: Sequence[str], source: str, uids: Sequence[int]
) -> Verdict | None:
    """A client puts messages into a mailbox, before anything is written. ``session.user`` is whose mailbox it is.

    ``how`` is "append": asked once for each message, with ``message`` (id "", origin "imap") and its ``flags``; ``source`` is ""
    and ``uids`` empty. Or "copy" or "move": asked once for the command, ``uids`` of the mailbox ``source`` go to ``mailbox``;
    ``message`` is None. Not asked for deliveries (``mailbox_deliver``), nor when INBOX is renamed, which moves its messages.

    reject answers NO [NOPERM] with the verdict's text, defer NO [UNAVAILABLE]; nothing of the command is done.
    """


@hookspec("verdict", allowed=SESSION, on_error="defer", timeout=10.0)
def mailbox_store(session: Session, mailbox: str, uids: Sequence[int], change: str, flags: Sequence[str]) -> Verdict | None:
    """A client changes flags, before anything is written: STORE and UID STORE. ``flags`` has keywords too.

    Asked as well when FETCH is about to set \\Seen: a refusal leaves the messages unread, and the FETCH goes on.
    reject answers NO [NOPERM] with the verdict's text, defer NO [UNAVAILABLE]; no flag of any message is changed.
    """


@hookspec("verdict", allowed=SESSION, on_error="defer", timeout=10.0)
def mailbox_expunge(session: Session, mailbox: str, how: str, uids: Sequence[int]) -> Verdict | None:
    """Messages are about to be removed for good: exactly ``uids``. Not asked when nothing would go.

    ``how`` is "expunge" (EXPUNGE, UID EXPUNGE), "close" (CLOSE), "move" (after ``mailbox_append`` agreed, where both are there)
    or "pop3" (QUIT after DELE). Not asked when a whole mailbox or account is deleted, nor when INBOX is renamed.

    reject answers NO [NOPERM] with the verdict's text, defer NO [UNAVAILABLE], POP3 -ERR [SYS/PERM] or [SYS/TEMP]; all messages
    stay. CLOSE closes the mailbox all the same, and a POP3 connection ends.
    """


@hookspec("notify", timeout=30.0)
def log_event(record: LogRecord) -> None:
    """A line was written to the log of this worker: for shipping it elsewhere.

    Told later, in order, without holding up who logged; when more than 10,000 wait, further ones are dropped, and
    ``log.dropped`` says how many. Lines that come of this hook itself are not told, nor those with the name of a plugin that
    implements it, so that nobody hears of its own.
    """


@hookspec("pipeline", on_error="continue")
def dsn_compose(report: DsnReport) -> DsnReport | None:
    """A report to a sender is about to be written: other words (``subject``, ``text``, a recipient's ``status`` and ``diagnostic``),
    more or less of the message (``ret``), fewer recipients; none at all: no report. Answer it with ``dataclasses.replace``.

    What became of whom does not change, nor who is told. Asked for failures, delays and successes alike: ``action`` tells.
    """


@hookspec("durable", on_error="retry", timeout=30.0)
def message_accepted(message: Message, envelopes: Sequence[Envelope]) -> None:
    """We have taken responsibility for a message, through any door; the call was written with the message itself.

    ``message`` is its header only, at most 64 KiB, with the whole one's ``size``; ``envelopes``, one at present, has all recipients:
    redirected ones as they are now, aliases as they were named. Not called for what was thrown away (discard), nor for reports
    that this server makes.
    """


@hookspec("durable", on_error="retry", timeout=30.0)
def delivered(record: DeliveryRecord) -> None:
    """A recipient was served: mailbox, next hop or hook."""


@hookspec("durable", on_error="retry", timeout=30.0)
def deferred(record: DeliveryRecord) -> None:
    """An attempt failed for now."""


@hookspec("durable", on_error="retry", timeout=30.0)
def bounced(record: DeliveryRecord) -> None:
    """A recipient failed for good; the DSN, where one is due, is written in the same transaction."""


@hookspec("durable", on_error="retry", timeout=30.0)
def report_received(message: Message, report: ReceivedReport) -> None:
    """A message that was accepted is a report: a delivery status notification (RFC 3464), a complaint (ARF, RFC 5965) or how others
    fared with our TLS (RFC 8460).

    For bounce handling of what was sent before: ``report.envelope_id`` and ``report.message_id`` tell of which message. Anybody
    can send one; it proves nothing. ``message`` has its first 64 KiB at least. Not called for reports that this server makes.
    """


@hookspec("durable", on_error="retry", timeout=30.0)
def mailbox_event(event: MailboxEvent) -> None:
    """Something happened in a mailbox; the names are those of RFC 5423 §4.2. Written with the change's own transaction, whoever made it.

    MessageNew (delivered), MessageAppend (by APPEND, COPY or MOVE; of the last two ``details["copied"]`` is true), MessageExpunge
    (removed, or moved away), MessageRead (\\Seen was set), MessageTrash (\\Deleted was set), FlagsSet (any other flag was set),
    FlagsClear; of these four ``details["changed"]`` names the flags, and ``flags`` is what the messages have now. MailboxCreate
    (missing parents too), MailboxDelete, MailboxRename (``details["from"]``), MailboxSubscribe, MailboxUnSubscribe.

    QuotaExceed, QuotaWarning, Login and Logout have no transaction of their own: their row is written right after it happened, beside
    the session, which waits for nothing. QuotaExceed has ``queue_id`` (mail for a full account) or ``details["command"]``; QuotaWarning
    ``details["level"]``, the percentage of ``quota.warn`` that was reached; Login and Logout, of IMAP, POP3 and SMTP, ``details`` with
    "protocol", "client" and "session". Never told: the mailboxes that a new account comes with; the messages of a mailbox that is deleted.
    """
