"""The contract between mta and its plugins: everything a plugin may import, and nothing else.

    from mta_hooks import hookimpl, reject

    @hookimpl
    def smtp_mail(session, transaction, sender):
        if sender and sender.domain == "spam.example":
            return reject("we do not take mail from there")

Arguments are only ever added (``API`` grows its second number); every hook has a page in docs/hooks/.
"""
# SPDX-License-Identifier: Apache-2.0

from mta.model.address import Address
from mta.model.delivery import Deferred, Delivered, DeliveryPolicy, DeliveryRecord, DeliveryStatus, Failed, Route
from mta.model.directory import (
    AliasTarget,
    AuthFail,
    AuthOk,
    Domain,
    HookTarget,
    MailboxTarget,
    NotFound,
    RelayTarget,
    ScramKeys,
    StoredKeys,
    User,
)
from mta.model.errors import ConfigError, Refused, TemporaryFailure
from mta.model.message import Flags, Placement, Recipient
from mta.model.reply import Reply
from mta.model.tls import Tlsa, TlsPolicy, TlsResult
from mta.model.verdict import Action, Verdict, accept, add_score, defer, discard, hold, quarantine, redirect, reject
from mta.wire.dsn.parse import ReceivedReport, ReportedRecipient
from mta.wire.dsn.report import RecipientReport
from mta.wire.dsn.tls import ReportedTls, TlsFailures
from mta_hooks.capabilities import ImapCommand, ImapReply
from mta_hooks.edits import (
    AddHeader,
    AddRecipient,
    Edit,
    RemoveHeader,
    RemoveRecipient,
    ReplaceHeader,
    ReplaceMessage,
    ReplacePart,
    ReplaceRecipient,
    SetBody,
    SetSender,
)
from mta_hooks.markers import hookimpl, hookspec
from mta_hooks.results import AuthResult, Health
from mta_hooks.services import Context
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

API = "1.0"

__all__ = [
    "API", "Action", "AddHeader", "AddRecipient", "Address", "AliasTarget", "Attempt", "AuthFail", "AuthOk", "AuthResult",
    "ConfigError", "Context", "Deferred", "Delivered", "DeliveryPolicy", "DeliveryRecord", "DeliveryStatus", "Domain",
    "DsnReport", "Edit", "Envelope", "Failed", "Flags", "Health", "HookTarget", "LogRecord", "ImapCommand", "ImapReply", "MailboxEvent",
    "MailboxTarget", "Message", "NotFound", "Part", "Placement", "ReceivedReport", "Recipient", "RecipientReport",
    "Refused", "RelayTarget", "RemoveHeader", "RemoveRecipient", "ReplaceHeader", "ReplaceMessage", "ReplacePart",
    "ReplaceRecipient", "Reply", "ReportedRecipient", "ReportedTls", "Route", "ScramKeys", "Session", "SetBody", "SetSender", "Sink",
    "StoredKeys", "TemporaryFailure", "Tls", "TlsCertificate", "TlsFailures", "TlsPolicy", "TlsResult", "Tlsa", "Transaction", "User", "UserChange", "Verdict", "accept",
    "add_score", "defer", "discard", "hold", "hookimpl", "hookspec", "quarantine", "redirect", "reject",
]  # fmt: skip
