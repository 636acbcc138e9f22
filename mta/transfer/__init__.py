"""Mail from elsewhere into accounts, and accounts' mail out: mbox, Maildir, IMAP."""
# SPDX-License-Identifier: Apache-2.0
