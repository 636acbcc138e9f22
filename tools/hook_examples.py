"""One working example of every hook: shown on its page in docs/hooks, loaded and called by tests/plugins/host/test_docs.py."""
# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG001, RET503  # as short as an administrator writes them

import codecs
import dataclasses
import hashlib
import json

from pydantic import BaseModel

from mta_hooks import (
    AddHeader,
    AliasTarget,
    AuthFail,
    AuthOk,
    AuthResult,
    Deferred,
    Delivered,
    DeliveryPolicy,
    Domain,
    Health,
    HookTarget,
    ImapReply,
    RemoveHeader,
    Reply,
    Route,
    ScramKeys,
    StoredKeys,
    TemporaryFailure,
    TlsCertificate,
    User,
    accept,
    add_score,
    defer,
    hookimpl,
    quarantine,
    reject,
)


class Config(BaseModel):
    url: str
    blocked: list[str] = []


@hookimpl
def register(registry):
    registry.config(Config)


@hookimpl
async def startup(server, ctx):
    ctx.log.info("example.ready", worker=server.worker, url=ctx.config["url"])


@hookimpl
def config_changed(old, new):
    if new["limits"]["message_size"] < old["limits"]["message_size"]:
        return "limits.message_size: never made smaller here, our clients rely on it"


@hookimpl
async def health_check(ctx):
    try:
        reply = await ctx.http.request("GET", ctx.config["url"], timeout=5)
    except OSError as exc:
        return Health("failed", f"ticket system: {exc}")
    return Health() if reply.status < 500 else Health("degraded", f"ticket system said {reply.status}")


@hookimpl
async def shutdown(ctx):
    ctx.log.info("example.bye")


@hookimpl
def smtp_connect(session, ctx):
    if session.client_ip in ctx.config["blocked"]:
        return reject("your address is blocked here", code=554).disconnect()


@hookimpl
async def tls_certificate(server_name, ctx):
    pair = await ctx.kv.get(f"certificate/{server_name}")
    return TlsCertificate(**json.loads(pair)) if pair else None


@hookimpl
def smtp_ehlo(session, name):
    if session.protocol == "smtp" and name.lower() in ("localhost", "localhost.localdomain"):
        return reject("say your real name", code=550, enhanced="5.5.2")


@hookimpl
def smtp_tls(session, tls):
    if session.protocol == "submission" and tls.version in ("TLSv1", "TLSv1.1"):
        return reject("your program is too old for a safe connection")


@hookimpl
def smtp_capabilities(session, capabilities):
    return [*capabilities, "XEXAMPLE 1"] if session.tls else None


@hookimpl
async def auth_policy(session, username, ctx):
    tries = int(await ctx.kv.get(f"failed/{session.client_ip}") or 0)
    if tries >= 10:
        return reject("too many attempts, come back tomorrow", reason=f"{tries} failed logins, now as {username}")


@hookimpl
async def auth_result(session, ok, ctx):
    if not ok:
        tries = int(await ctx.kv.get(f"failed/{session.client_ip}") or 0)
        await ctx.kv.set(f"failed/{session.client_ip}", str(tries + 1).encode(), ttl=86400)


@hookimpl
def session_login(session, user):
    if user.startswith("scanner@") and not session.client_ip.startswith("192.0.2."):
        return reject("this account is for the office only")


@hookimpl
async def auth_verify(service, username, credential, ctx):
    reply = await ctx.http.request("POST", ctx.config["url"], data=json.dumps([service, username, credential]).encode())
    if reply.status == 404:
        return None  # not an account of ours: the next plugin is asked
    return AuthOk(username) if reply.status == 200 else AuthFail(f"status {reply.status}")


@hookimpl
async def credentials_lookup(service, username, ctx):
    kept = await ctx.kv.get(f"keys/{username.lower()}")
    if kept is None:
        return None  # nobody of ours: the next plugin is asked
    salt, stored_key, server_key = (bytes.fromhex(part) for part in kept.decode().split())
    return StoredKeys(username, (ScramKeys("sha256", salt, 15000, stored_key, server_key),))


@hookimpl
def smtp_mail(sender, params):
    if sender is None:
        return None  # the null sender: a bounce
    if sender.domain == "spam.example" or int(params.get("SIZE") or 0) > 25_000_000:
        return reject("we do not take that")


@hookimpl
async def smtp_rcpt(session, recipient, ctx):
    key = f"seen/{session.client_ip}/{recipient}"
    if await ctx.kv.get(key) is None:
        await ctx.kv.set(key, b"1", ttl=86400)
        ctx.log.info("example.first_contact", client=session.client_ip)


@hookimpl
def rcpt_policy_key(recipient):
    return "strict" if recipient.local in ("ceo", "payroll") else "normal"


@hookimpl
def smtp_data(transaction):
    if transaction.sender is None and len(transaction.recipients) > 1:
        return reject("a bounce has one recipient", code=554, enhanced="5.5.3")


@hookimpl
def message_headers(headers):
    names = [name.lower() for name, _ in headers]
    if names.count("from") > 1:
        return reject("a message has one From", enhanced="5.6.0")
    return add_score(1.0, "no Date") if "date" not in names else None


class Digest:
    def __init__(self, kv):
        self.kv, self.sha256 = kv, hashlib.sha256()

    def feed(self, octets):
        self.sha256.update(octets)

    async def close(self):
        if await self.kv.get(f"bad/{self.sha256.hexdigest()}"):
            return reject("we have seen this one before")


@hookimpl
def message_sink(ctx):
    return Digest(ctx.kv)


@hookimpl(types=("application/x-msdownload", "application/x-dosexec", "application/octet-stream"))
def mime_part(part):
    if part.octets.startswith(b"MZ"):
        return reject(f"programs are not taken here, part {part.path} is one")


@hookimpl
def smtp_reply(session, command, reply):
    if command == "RCPT" and reply.code == 550:
        return dataclasses.replace(reply, text=f"{reply.text}; help: https://postmaster.example/{session.id}")


@hookimpl(verbs="XPING")
def smtp_command(session, args):
    return Reply(250, "2.0.0", f"pong {args}") if session.tls else Reply(530, "5.7.0", "under TLS only")


@hookimpl(verbs=("XPING",))
def imap_command(session, command):
    if not session.user:
        return ImapReply("log in first", status="BAD")
    return ImapReply("pong", lines=[f"XPING {session.user} {len(command.arguments)}"])


@hookimpl
def verdict_override(transaction, hook, plugin, verdict, ctx):
    if transaction is not None and str(transaction.sender) == "boss@partner.example":
        return add_score(verdict.score or 2.0) if hook == "message_check" else accept(f"{plugin} is not asked about the boss")


@hookimpl
def smtp_reset(transaction, reason, ctx):
    if reason == "disconnect":
        ctx.log.info("example.gave_up", id=transaction.id, recipients=len(transaction.recipients))


@hookimpl
def smtp_disconnect(session, reason, ctx):
    ctx.log.info("example.gone", client=session.client_ip, reason=reason)


@hookimpl
async def message_authenticate(session, message, ctx):
    listed = await ctx.dns.a(f"{session.client_ip}.allow.example")
    return AuthResult("dnswl", "pass" if listed else "none", properties=(("policy.ip", session.client_ip),))


@hookimpl
def message_check(message, results):
    if any(r.method == "spf" and r.result == "fail" for r in results):
        return add_score(3.0, "SPF failed")
    if (message.header("Subject") or "").isupper():
        return add_score(0.5, "shouting")


@hookimpl
def message_verdict(scores, recipients):
    total = sum(scores.values())
    patient = [r.address for r in recipients if r.address.local == "abuse"]
    if total > 10 and patient:
        return {address: quarantine(f"score {total}") for address in patient}  # never refused: they collect it


@hookimpl
def message_modify(message, recipients):
    edits = [RemoveHeader("X-Originating-IP")]
    if len(recipients) > 50:
        edits.append(AddHeader("Precedence", "bulk", top=False))
    return edits


@hookimpl
async def message_sign(message, ctx):
    digest = await ctx.threads.run(hash, message.raw)  # heavy work leaves the event loop
    return AddHeader("X-Example-Seal", f"{digest & 0xFFFFFFFF:08x}")


@hookimpl
def address_rewrite(address, role):
    if address.domain.endswith(".corp.example"):
        return dataclasses.replace(address, domain="corp.example")


@hookimpl
def queue_enqueue(message, envelopes):
    if "bulk" in (message.header("Precedence") or ""):
        tonight = envelopes[0].received_at // 86400 * 86400 + 22 * 3600
        return [dataclasses.replace(e, due=tonight) for e in envelopes]


@hookimpl
def queue_admin(action, envelopes):
    if action == "delete":
        return [e for e in envelopes if e.user != "archive@example.org"]


@hookimpl
def domain_lookup(domain):
    return Domain(domain, "relay") if domain.endswith(".customers.example") else None


@hookimpl
def recipient_lookup(address):
    return HookTarget(address) if address.local == "support" else None


@hookimpl
def alias_expand(address):
    return AliasTarget(("alice@example.org", "bob@example.com")) if address.local == "team" else None


@hookimpl
async def user_lookup(service, username, ctx) -> User | None:
    ctx.log.debug("example.asked", service=service, user=username)
    return None  # not ours: the next plugin is asked, last of all the built-in directory


@hookimpl
def user_change(user, change):
    if change.password is not None and len(change.password) < 12:
        return reject("a password has at least 12 characters here")
    if change.action == "delete" and user.startswith("postmaster@"):
        return reject("somebody must read the mail to postmaster")


@hookimpl
def route(sender, recipient):
    if recipient.domain == "partner.example":
        return Route("smtp", host="mail.partner.example", port=2525, tls="encrypt")


@hookimpl
def delivery_policy(envelope, site):
    if site.endswith("smallhost.example"):
        return DeliveryPolicy(concurrency=1, retry=(600, 3600))
    if envelope.user == "newsletter@example.org":
        return DeliveryPolicy(lifetime=86400, delay_warning=0)


@hookimpl
async def delivery_attempt(envelope, attempt, ctx):
    if await ctx.kv.get(f"paused/{attempt.site}"):
        return defer("deliveries to this site are paused", delay=900)
    if attempt.number > 5 and envelope.user == "newsletter@example.org":
        return reject("a newsletter is not tried for days")


@hookimpl
async def mx_lookup(domain, ctx):
    inside = await ctx.kv.get(f"inside/{domain}")
    return [inside.decode(), "backup.example.org"] if inside else None


@hookimpl
def tls_policy(domain, mx):
    if domain.endswith("bank.example"):
        return "encrypt"


@hookimpl
def tls_result(result, ctx):
    if result.failure and result.policy.source:
        ctx.log.warning("example.tls_failed", domain=result.domain, mx=result.mx, reason=result.reason)


@hookimpl
def delivery_modify(envelope, message):
    if envelope.user and all(r.domain == "partner.example" for r in envelope.recipients):
        return AddHeader("X-Account", envelope.user)
    return [RemoveHeader("X-Internal-Ticket"), RemoveHeader("X-Originating-IP")]


@hookimpl
def delivery_status(status):
    if status.code == 550 and "greylist" in status.text.lower():
        return dataclasses.replace(status, code=451, enhanced="4.7.1", delay=600)


@hookimpl(timeout=20)
async def deliver(recipient, message, ctx):
    if recipient.local != "support":
        return None  # not mine: the mailbox, or the next plugin
    reply = await ctx.http.request("POST", ctx.config["url"], data=message.raw)
    return Delivered("ticket made") if reply.status < 300 else Deferred(f"ticket system said {reply.status}")


@hookimpl
def mailbox_deliver(message, placement):
    if message.header("List-Id"):
        return dataclasses.replace(placement, folder="Lists", keywords=placement.keywords | {"list"})


@hookimpl
def message_read(stream):
    head, _, body = stream.partition(b"\r\n\r\n")
    if b"\r\nX-Rot13: yes" in head:
        return head + b"\r\n\r\n" + codecs.encode(body.decode(), "rot13").encode()


@hookimpl
def mailbox_append(mailbox, how, message):
    if how == "append" and message.size > 10_000_000:
        return reject("too large for a mailbox: send a link")
    if how != "append" and mailbox.startswith("Archive/"):
        return reject("the archive is filled by the server only")


@hookimpl
def mailbox_store(mailbox, change, flags):
    if mailbox == "Archive" and change != "remove" and "\\Deleted" in flags:
        return reject("what is archived stays")


@hookimpl
async def mailbox_expunge(session, uids, ctx):
    if await ctx.kv.get(f"hold/{session.user}"):
        ctx.log.info("example.held", user=session.user, messages=len(uids))
        return reject("this account is under legal hold: nothing can be removed")


@hookimpl
def dsn_compose(report):
    if all(one.action == "failed" for one in report.recipients):
        return dataclasses.replace(report, text="Questions? Call the help desk: 555-0100.", ret="HDRS")


@hookimpl
async def message_accepted(message, envelopes, ctx):
    line = f"{message.id} {message.header('Subject')} for {sum(len(e.recipients) for e in envelopes)}"
    await ctx.http.request("POST", ctx.config["url"], data=line.encode())


@hookimpl
async def delivered(record, ctx):
    line = f"{record.recipient} has {record.message_id} from {record.sender or '<>'}"
    reply = await ctx.http.request("POST", ctx.config["url"], data=line.encode())
    if reply.status >= 300:
        raise TemporaryFailure(f"status {reply.status}")  # called again later


@hookimpl
async def deferred(record, ctx):
    if record.attempts == 3:
        ctx.log.warning("example.stuck", to=record.recipient, reply=record.reply, next=record.next_attempt)


@hookimpl
async def bounced(record, ctx):
    await ctx.kv.set(f"bounced/{record.recipient}", record.reply.encode(), ttl=30 * 86400)


@hookimpl
async def report_received(report, ctx):
    for one in report.recipients:
        if one.action == "failed" and one.status.startswith("5.1"):
            await ctx.kv.set(f"unknown/{one.address}", report.message_id.encode())


@hookimpl
async def log_event(record, ctx):
    if record.level == "error":
        await ctx.http.request("POST", ctx.config["url"], data=json.dumps([record.at, record.event, dict(record.fields)]).encode())


@hookimpl
async def mailbox_event(event, ctx):
    if event.event == "MessageNew" and event.mailbox == "INBOX":
        await ctx.http.request("POST", ctx.config["url"], data=f"new mail for {event.user}".encode())
