"""POP3: one file per verb over a frozen list of the inbox (RFC 1939, 2449, 2595, 3206, 5034, 6186 §3.3).

``connection`` moves octets, ``session`` is what one client has, ``maildrop`` the list it sees, ``verbs`` the table.
Left out: APOP (needs the password in the clear on disk), mailboxes other than INBOX.
"""
# SPDX-License-Identifier: Apache-2.0
