"""The catalogue of attacks is whole: each row names the tests that show what has to happen, and they are there.

A row is an attack with what is expected of the server; a test is ``file::function``, the first one named after the row.
"""
# SPDX-License-Identifier: Apache-2.0

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SMTP, BESIDE, REAL, HOP = (
    "unit/smtpd/test_attacks.py",
    "unit/smtpd/test_attacks_beside.py",
    "integration/smtp/test_attacks.py",
    "integration/outbound/test_attacks.py",
)

ROWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # ---- SMTP
    (
        "smuggling inbound",
        (
            f"{SMTP}::test_smuggling_inbound",
            f"{REAL}::test_smuggling_inbound",
        ),
    ),
    ("smuggling outbound", (f"{SMTP}::test_smuggling_outbound",)),
    ("early talk and pipelining into DATA", (f"{SMTP}::test_early_talk_and_pipelining_into_data",)),
    (
        "STARTTLS injection",
        (
            f"{REAL}::test_starttls_injection",
            f"{REAL}::test_starttls_leaves_nothing_of_the_state",
            f"{HOP}::test_tls_downgrade_what_is_said_in_clear_before_tls_is_not_believed",
        ),
    ),
    (
        "cross protocol",
        (
            f"{SMTP}::test_cross_protocol",
            "integration/app/test_alpn.py::test_cross_protocol",
        ),
    ),
    (
        "BDAT",
        (
            f"{BESIDE}::test_bdat",
            f"{REAL}::test_bdat_when_tls_ends_within_a_chunk",
        ),
    ),
    ("open relay tricks", (f"{SMTP}::test_open_relay_tricks",)),
    (
        "parser confusion",
        (
            f"{BESIDE}::test_parser_confusion",
            "unit/smtpd/test_wishes.py::test_parser_confusion_is_refused",
        ),
    ),
    (
        "header and log injection",
        (
            f"{SMTP}::test_header_and_log_injection_by_mail",
            f"{SMTP}::test_header_and_log_injection_by_rcpt",
        ),
    ),
    ("recipient harvest", (f"{SMTP}::test_recipient_harvest",)),
    ("backscatter", (f"{SMTP}::test_backscatter",)),
    ("loops", (f"{SMTP}::test_loops", f"{BESIDE}::test_loops_of_forwarders")),
    (
        "slow clients",
        (
            f"{SMTP}::test_slow_clients",
            f"{REAL}::test_slow_flooding_and_huge_peers_leave_healthy_ones_served",
        ),
    ),
    ("many clients", (f"{SMTP}::test_many_clients",)),
    (
        "huge things",
        (
            f"{SMTP}::test_huge_things",
            f"{REAL}::test_huge_message_of_150_mb_in_flat_memory",
        ),
    ),
    (
        "write side flood",
        (
            f"{SMTP}::test_write_side_flood",
            f"{REAL}::test_write_side_flood",
        ),
    ),
    (
        "MIME and header bombs",
        (
            f"{SMTP}::test_mime_and_header_bombs",
            "unit/wire/mime/test_parse.py::test_bombs_take_linear_time",
        ),
    ),
    ("MIME ambiguity", ("plugins/mta_mimefaults/test_mimefaults.py::test_mime_ambiguity",)),
    (
        "scanner bombs",
        (
            "plugins/mta_rspamd/test_rspamd.py::test_scanner_bombs",
            "plugins/mta_spamassassin/test_spamassassin.py::test_scanner_bombs",
        ),
    ),
    (
        "regular expression bombs",
        (
            "plugins/mta_checks/test_attacks.py::test_regular_expression_bombs",
            "unit/lookup/test_regex.py::test_what_is_made_to_take_long_does_not",
        ),
    ),
    (
        "command and file addresses",
        (
            f"{SMTP}::test_command_and_file_addresses",
            "plugins/host/test_executables.py::test_it_never_runs_as_root",
        ),
    ),
    (
        "local delivery",
        (
            "plugins/mta_maildir/test_attacks.py::test_local_delivery",
            "integration/app/test_maildrop.py::test_nothing_is_read_through_links",
        ),
    ),
    (
        "sendmail command",
        (
            f"{BESIDE}::test_sendmail_command",
            "plugins/mta_ratelimit/test_ratelimit.py::test_sendmail_command",
        ),
    ),
    # ---- DNS, TLS
    (
        "DNS",
        (
            f"{HOP}::test_dns_cve_2023_29483_tudoor_a_forged_or_broken_packet_ends_no_look_up",
            f"{HOP}::test_dns_answers_are_limited_in_what_they_cause",
            f"{HOP}::test_dns_cve_2026_40684_names_out_of_dns_reach_neither_commands_nor_log_nor_reports",
        ),
    ),
    (
        "TLS downgrade",
        (
            f"{HOP}::test_tls_downgrade_starttls_stripped",
            f"{HOP}::test_tls_downgrade_starttls_broken",
            f"{HOP}::test_tls_downgrade_old_versions_are_no_tls",
        ),
    ),
)


IMAP = "integration/imap/test_attacks.py"

MAILBOXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "literals before login",
        (f"{IMAP}::test_literals_before_login", "unit/wire/imap/test_decoder.py::test_many_small_literals_count_together"),
    ),
    (
        "parenthesis and depth",
        (f"{IMAP}::test_parenthesis_and_depth", "unit/wire/mime/test_parse.py::test_depth_is_bounded_and_the_rest_opaque"),
    ),
    (
        "long work",
        (
            f"{IMAP}::test_long_work_is_bounded",
            f"{IMAP}::test_one_session_never_stalls_others",
            "integration/imap/test_many_mailboxes.py::test_a_listing_takes_turns",
        ),
    ),
    (
        "SASL abuse",
        (
            f"{IMAP}::test_sasl_abuse_touches_nobody_else",
            "unit/wire/sasl/test_sasl.py::test_broken_base64_is_refused",
            "plugins/mta_scram/test_server.py::test_a_hidden_binding_is_noticed_and_old_accounts_are_told_nothing",
        ),
    ),
    ("user name injection", (f"{IMAP}::test_user_name_injection",)),
    (
        "auth cache mix-up",
        (
            "unit/directory/test_passwords.py::test_auth_cache_mix_up",
            "plugins/mta_htpasswd/test_htpasswd.py::test_auth_cache_mix_up",
            "plugins/mta_oauth/test_tokens.py::test_auth_cache_mix_up",
        ),
    ),
    (
        "secret comparison",
        (
            "unit/test_secret_comparison.py::test_secret_comparison",
            "unit/directory/test_passwords.py::test_unknown_account_hashes_too_and_is_never_cached",
        ),
    ),
    (
        "ACL side doors",
        (
            f"{IMAP}::test_acl_side_doors",
            f"{IMAP}::test_acl_side_doors_by_name",
            "unit/imapd/test_urlauth.py::test_nothing_of_it_can_be_changed",
        ),
    ),
    ("mailbox names", (f"{IMAP}::test_mailbox_names",)),
    (
        "index damage",
        (
            f"{IMAP}::test_index_damage_no_uid_twice_whatever_was_expunged_before_a_restart",
            "integration/storage/test_faults.py::test_verify_finds_what_is_damaged",
            "plugins/mta_sql/test_search.py::test_a_damaged_file_is_made_anew",
        ),
    ),
    ("crash mid APPEND", (f"{IMAP}::test_crash_mid_append_leaves_nothing",)),
)


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize(("row", "tests"), [*ROWS, *MAILBOXES], ids=[row for row, _ in (*ROWS, *MAILBOXES)])
def test_every_row_of_the_attack_catalogue_has_its_test(row: str, tests: tuple[str, ...]) -> None:
    named = re.sub(r"[^a-z0-9]+", "_", row.lower())
    for test in tests:
        file, _, function = test.partition("::")
        assert function in functions(file), test
    assert tests[0].partition("::")[2].startswith(f"test_{named}"), "the first is named after its row"
