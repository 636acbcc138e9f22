"""Replies that never change (RFC 5321 §4.2.3, RFC 3463, RFC 5248)."""
# SPDX-License-Identifier: Apache-2.0

from mta.model.reply import Reply

MAIL_OK = Reply(250, "2.1.0", "sender ok")
RCPT_OK = Reply(250, "2.1.5", "recipient ok")
START_DATA = Reply(354, "", "end data with <CRLF>.<CRLF>")
RESET = Reply(250, "2.0.0", "ok")
READY_FOR_TLS = Reply(220, "2.0.0", "ready to start TLS")
AUTHENTICATED = Reply(235, "2.7.0", "authentication successful")

BUG = Reply(451, "4.3.0", "internal error, try again later")
TEMPORARY = Reply(451, "4.3.0", "temporary failure, try again later")
UNKNOWN = Reply(500, "5.5.1", "command not recognised")
TOO_LONG = Reply(500, "5.5.2", "line too long")
BARE_LF = Reply(500, "5.5.2", "bare LF received: lines end with CRLF", close=True)
NOT_SMTP = Reply(554, "5.5.1", "this is a mail server", close=True)
NEED_EHLO = Reply(503, "5.5.1", "send EHLO first")
NEED_MAIL = Reply(503, "5.5.1", "send MAIL first")
NEED_RCPT = Reply(503, "5.5.1", "send RCPT first")
NESTED_MAIL = Reply(503, "5.5.1", "sender already given")
EARLY_DATA = Reply(503, "5.5.0", "improper pipelining: DATA ends a group of commands", close=True)
NO_PARAMETER = Reply(555, "5.5.4", "parameter not recognised")

TOO_BIG = Reply(552, "5.3.4", "message is larger than the limit")
TOO_BIG_CLOSING = Reply(552, "5.3.4", "message is larger than the limit", close=True)
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "too many recipients, send the others in another transaction")
OTHER_POLICY = Reply(452, "4.5.3", "this recipient has other rules, send it in another transaction")
NO_RELAY = Reply(550, "5.7.1", "relaying denied")
NEED_SMTPUTF8 = Reply(553, "5.6.7", "non-ASCII address needs SMTPUTF8")
NEED_AUTH = Reply(530, "5.7.0", "authentication required")
NOT_YOURS = Reply(553, "5.7.1", "sender address does not belong to you")

NEED_TLS = Reply(538, "5.7.11", "encryption required: send STARTTLS first")
NO_MECHANISM = Reply(504, "5.5.4", "mechanism not supported")
WRONG_PASSWORD = Reply(535, "5.7.8", "authentication failed")
AUTH_AWAY = Reply(454, "4.7.0", "temporary authentication failure")
AUTH_AGAIN = Reply(503, "5.5.1", "already authenticated")
AUTH_IN_MAIL = Reply(503, "5.5.1", "not during a mail transaction")
NO_AUTH = Reply(502, "5.5.1", "authentication is not available here")
NO_STARTTLS = Reply(502, "5.5.1", "TLS is not available here")
TLS_AGAIN = Reply(503, "5.5.1", "TLS is active already")

IDLE = Reply(421, "4.4.2", "timeout, closing", close=True)
TOO_MANY_ERRORS = Reply(421, "4.7.0", "too many errors, closing", close=True)
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "too many connections from you, closing", close=True)
BUSY = Reply(421, "4.3.2", "too many connections, closing", close=True)
SHUTDOWN = Reply(421, "4.3.2", "server is going down, closing", close=True)
