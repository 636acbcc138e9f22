"""The IMAP server (RFC 9051, RFC 3501): connections, sessions, one module for each verb, and the shared mailbox views."""
# SPDX-License-Identifier: Apache-2.0
