"""IMAP octets to values and back (RFC 9051, RFC 3501 and extensions), sans I/O.

``decoder`` cuts a stream into requests and asks for literals; ``command.parse`` turns a request into a frozen value, one
module for each group of verbs; ``response`` and ``structure`` encode what a server says. Nothing here knows a mailbox.
"""
# SPDX-License-Identifier: Apache-2.0
