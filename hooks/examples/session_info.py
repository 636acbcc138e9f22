"""What does the server see of me? Behind a balancer or a tunnel, `XSESSION` over IMAP and SMTP, `XSES` over POP3 say it.

Copy into ``hooks_dir``. Try: openssl s_client -quiet -crlf -connect mail.example.org:993, then: a XSESSION. The id is the one in the
log, so a user can read it to the help desk.
"""
# SPDX-License-Identifier: Apache-2.0

from mta_hooks import ImapReply, Reply, hookimpl
from mta_hooks.capabilities import Pop3Reply


def seen(session):
    return f"id={session.id} client={session.client_ip} tls={'yes' if session.tls else 'no'} user={session.user or '-'}"


@hookimpl
def register(registry):
    registry.capability("imap", "XSESSION", commands={"XSESSION": over_imap}, before_login=True)
    registry.capability("smtp", "XSESSION", commands={"XSESSION": over_smtp})
    registry.capability("pop3", "XSES", commands={"XSES": over_pop3}, before_login=True)


def over_imap(session, arguments):
    if arguments:
        return ImapReply("XSESSION takes nothing", status="BAD")
    return ImapReply(lines=[f"XSESSION {seen(session)}"])


def over_smtp(session):
    return Reply(250, "2.0.0", seen(session))


def over_pop3(session):
    return Pop3Reply(seen(session))
