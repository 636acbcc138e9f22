"""Signing and verification through the hooks, with dkimpy and OpenDKIM as independent judges."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import base64
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import dkim
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mta_dkim
from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.host import HookHost
from mta.testing.plugins import FakeClock, FakeDns, FakeMessage, FakeSession, host_with
from mta_dkim.canonical import BodyHash, Form, canonical_header, canonical_signature, split_message
from mta_hooks import AuthResult
from mta_hooks.services import DnsError

BODY = b"Hello  there \t \r\n\r\n.dot\r\ntrailing \r\n\r\n\r\n"
MESSAGE = (
    b"Received: from x by y;\r\n\tlater\r\nFrom: Alice  <alice@example.org>\r\nTo: bob@dest.test,\r\n carol@dest.test\r\n"
    b"Subject:  a   subject \r\n\tfolded\r\nDate: Tue, 24 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n" + BODY
)
NAME = "s1._domainkey.example.org"


def host(records: dict[str, Any] | None = None, **config: Any) -> HookHost:
    dns = FakeDns(
        {("txt", name): answer if isinstance(answer, Exception) else [answer] for name, answer in (records or {}).items()}
    )
    return host_with(mta_dkim, config=config, dns=dns, clock=FakeClock(time.time()))


def authenticate(octets: bytes, records: dict[str, Any] | None = None, origin: Any = "smtp") -> list[AuthResult]:
    message = FakeMessage(octets, origin=origin)
    answers = asyncio.run(host(records).message_authenticate.all(session=FakeSession(), message=message))  # type: ignore[union-attr]
    return [result for _, result in answers]


def verdicts(octets: bytes, records: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(result.result, result.reason) for result in authenticate(octets, records)]


def sign(octets: bytes, path: str, origin: Any = "submission", **config: Any) -> bytes:
    """Return the message with the signature that the plugin gives, or as it was."""
    config = {"selector": "s1", "key": path, "domains": {"example.org": {}}, **config}
    message = FakeMessage(octets, origin=origin)
    answers = asyncio.run(host(**config).message_sign.all(message=message))  # type: ignore[union-attr]
    edits = [edit for _, edit in answers]
    return b"".join(f"{edit.name}: {edit.value}\r\n".encode() for edit in edits) + octets


def dkimpy_sign(octets: bytes, pair: Any, c: tuple[bytes, bytes] = (b"relaxed", b"relaxed"), **options: Any) -> bytes:
    return dkim.sign(octets, b"s1", b"example.org", pair.traditional, canonicalize=c, **options) + octets  # type: ignore[no-any-return]


def dkimpy_verifies(octets: bytes, record: bytes) -> bool:
    return bool(dkim.verify(octets, dnsfunc=lambda name, timeout=5: record))


# ---- signing


def test_what_we_sign_dkimpy_and_we_verify(rsa_pair: Any) -> None:
    signed = sign(MESSAGE, rsa_pair.path)
    assert dkimpy_verifies(signed, rsa_pair.record)
    (result,) = authenticate(signed, {NAME: rsa_pair.record})
    assert (result.method, result.result) == ("dkim", "pass")
    names = dict(result.properties)
    assert (names["header.d"], names["header.s"], len(names["header.b"])) == ("example.org", "s1", 8)


def test_ed25519(ed_pair: Any) -> None:
    signed = sign(MESSAGE, ed_pair.path)
    assert b"a=ed25519-sha256" in signed
    assert verdicts(signed, {NAME: ed_pair.record}) == [("pass", "")]
    assert verdicts(signed.replace(b"Hello", b"Hallo"), {NAME: ed_pair.record}) == [("fail", "body hash did not verify")]
    assert verdicts(signed.replace(b"Alice", b"Alina"), {NAME: ed_pair.record}) == [("fail", "signature did not verify")]


def test_rfc8463_example() -> None:
    octets = (Path(__file__).parent / "rfc8463.eml").read_bytes()
    records = {
        "brisbane._domainkey.football.example.com": b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "test._domainkey.football.example.com": b"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR"
        b"iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB",
    }  # fmt: skip
    assert verdicts(octets, records) == [("pass", ""), ("pass", "")]


def test_nobody_can_add_a_field_that_counts(rsa_pair: Any) -> None:
    signed = sign(MESSAGE, rsa_pair.path)
    for name in (b"From", b"Subject", b"To", b"Date", b"Content-Type", b"Reply-To", b"Cc", b"Sender"):
        forged = signed.replace(b"Received:", name + b": mallory@evil.test\r\nReceived:", 1)
        assert [result for result, _ in verdicts(forged, {NAME: rsa_pair.record})] == ["fail"], name
    kept = signed.replace(b"Received:", b"X-Spam: no\r\nReceived:", 1)
    assert verdicts(kept, {NAME: rsa_pair.record}) == [("pass", "")]
    assert b" l=" not in signed


@pytest.mark.parametrize(
    ("origin", "author", "signed"),
    [
        ("submission", b"alice@example.org", True),
        ("local", b"alice@EXAMPLE.org", True),
        ("dsn", b"Mail <a@example.org>", True),
        ("smtp", b"alice@example.org", False),
        ("lmtp", b"alice@example.org", False),
        ("submission", b"alice@other.test", False),
        ("submission", b"alice@sub.example.org", False),
        ("submission", b"alice@example.org, bob@other.test", False),
        ("submission", b"alice@example.org\r\nFrom: bob@example.org", False),
        ("submission", b"", False),
    ],
)
def test_who_is_signed_for(rsa_pair: Any, origin: str, author: bytes, signed: bool) -> None:
    octets = b"From: " + author + b"\r\nSubject: x\r\n\r\nbody\r\n"
    assert (sign(octets, rsa_pair.path, origin) != octets) is signed


def test_each_domain_may_have_its_own_key(rsa_pair: Any, ed_pair: Any) -> None:
    domains = {"example.org": {}, "Other.TEST": {"selector": "o.2026", "key": ed_pair.path}}
    signed = sign(b"From: a@other.test\r\n\r\n", rsa_pair.path, domains=domains)
    assert b"d=other.test; s=o.2026;" in signed
    assert verdicts(signed, {"o.2026._domainkey.other.test": ed_pair.record}) == [("pass", "")]


@pytest.mark.parametrize("body", [b"", b"\r\n", b" \r\n\r\n", b"x", b"x ", b"\r\n\r\nx\r\n\r\n"])
def test_odd_bodies(rsa_pair: Any, body: bytes) -> None:
    signed = sign(b"From: a@example.org\r\n\r\n" + body, rsa_pair.path)
    assert verdicts(signed, {NAME: rsa_pair.record}) == [("pass", "")]
    if body.endswith(b"\r\n") or not body:
        assert dkimpy_verifies(signed, rsa_pair.record)


def test_a_key_that_cannot_be_used_is_said_at_start_and_defers(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no key")
    for path in (missing, str(garbage)):
        (plugin,) = host(key=path, domains={"example.org": {}}).plugins.values()
        with pytest.raises(ConfigError, match=r"plugins\.dkim\.domains\.example\.org"):
            asyncio.run(mta_dkim.startup(plugin.context))
        with pytest.raises(TemporaryFailure):
            sign(MESSAGE, path)


def test_a_replaced_key_is_read_again(tmp_path: Path, rsa_pair: Any, ed_pair: Any) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(rsa_pair.pem)
    assert b"a=rsa-sha256" in sign(MESSAGE, str(path))
    time.sleep(0.01)
    path.write_bytes(ed_pair.pem)
    assert b"a=ed25519-sha256" in sign(MESSAGE, str(path))


# ---- verification


def test_no_signature_is_none_and_our_own_users_are_not_asked(rsa_pair: Any) -> None:
    assert verdicts(MESSAGE) == [("none", "")]
    assert authenticate(sign(MESSAGE, rsa_pair.path), origin="submission") == []


BODIES = st.lists(st.sampled_from([b"\r\n", b" ", b"\t", b"  ", b"a", b"word", b".", b"\xe9", b" \r\n", b"\r\n\r\n"])).map(b"".join)
VALUES = st.lists(st.sampled_from([b" ", b"\t", b"\r\n ", b"\r\n\t", b"a", b":", b"\xe9", b"b=x;"]), max_size=8).map(b"".join)


@given(VALUES, BODIES, st.sampled_from([b"simple", b"relaxed"]), st.sampled_from([b"simple", b"relaxed"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_dkimpy_signs_we_verify(rsa_pair: Any, value: bytes, body: bytes, header_form: bytes, body_form: bytes) -> None:
    octets = b"From: a@example.org\r\nSubject:" + value + b"x\r\nX-Other : y\r\nsubject: again\r\n\r\n" + body + b"\r\n"
    octets = octets.replace(b"X-Other :", b"X-Other:")
    signed = dkimpy_sign(octets, rsa_pair, (header_form, body_form), include_headers=[b"from", b"subject", b"subject", b"subject"])
    assert verdicts(signed, {NAME: rsa_pair.record}) == [("pass", "")]


@given(BODIES, st.lists(st.integers(0, 500), max_size=6), st.sampled_from(["simple", "relaxed"]))
def test_body_hash_is_dkimpys_in_whatever_pieces(body: bytes, cuts: list[int], form: Form) -> None:
    body += b"\r\n"
    ours = BodyHash(form)
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in zip(edges, edges[1:], strict=False):  # noqa: RUF007
        ours.feed(body[start:end])
    canonical = dkim.CanonicalizationPolicy.from_c_value(f"simple/{form}".encode()).canonicalize_body(body)
    assert ours.finish() == dkim.HASH_ALGORITHMS[b"rsa-sha256"](canonical).digest()
    assert ours.size == len(canonical)


def test_changes_on_the_way(rsa_pair: Any) -> None:
    signed = sign(MESSAGE, rsa_pair.path)
    records = {NAME: rsa_pair.record}
    harmless = signed.replace(b"Hello  there", b"Hello \t there").replace(b"Subject:  a   subject", b"subject: a subject")
    assert verdicts(harmless, records) == [("pass", "")]
    assert verdicts(signed + b"more\r\n", records) == [("fail", "body hash did not verify")]
    assert verdicts(signed.replace(b"carol", b"karol"), records) == [("fail", "signature did not verify")]


def test_keys(rsa_pair: Any, ed_pair: Any, small_record: bytes) -> None:
    signed = sign(MESSAGE, rsa_pair.path)
    p = rsa_pair.record.partition(b"p=")[2]
    for record, expected in [
        (b"p=" + p, ("pass", "")),
        (b"v=DKIM1; t=y; h=sha1:sha256; s=email; p=" + p[:50] + b" " + p[50:], ("pass", "")),
        (b"v=DKIM1; p=", ("permerror", "key was revoked")),
        (b"v=DKIM2; p=" + p, ("permerror", "unknown key version")),
        (b"v=DKIM1; h=sha1; p=" + p, ("permerror", "key does not allow sha256")),
        (b"v=DKIM1; s=tlsrpt; p=" + p, ("permerror", "key is not for email")),
        (b"v=DKIM1; p=!!!", ("permerror", "malformed key")),
        (b"v=DKIM1; p=AAAA", ("permerror", "malformed key")),
        (b"v=spf1 -all", ("permerror", "no key for signature")),
        (b"v=DKIM1; v=DKIM1; p=x", ("permerror", "malformed key record")),
        (ed_pair.record, ("permerror", "key is of another type")),
        (small_record, ("permerror", "key has a size that is not accepted")),
        (DnsError("timed out"), ("temperror", "key cannot be asked for")),
    ]:
        assert verdicts(signed, {NAME: record}) == [expected]
    assert verdicts(signed) == [("permerror", "no key for signature")]


def edited(octets: bytes, pattern: bytes, by: bytes) -> bytes:
    out, count = re.subn(pattern, by, octets, count=1)
    assert count == 1
    return out


@pytest.mark.parametrize(
    ("pattern", "by", "expected"),
    [
        (rb"v=1", b"v=2", "unknown version"),
        (rb"v=1; ", b"", "v= missing"),
        (rb"a=rsa-sha256", b"a=rsa-sha1", "rsa-sha1 is obsolete"),
        (rb"a=rsa-sha256", b"a=rsa-md5", "unknown algorithm"),
        (rb"c=relaxed/relaxed", b"c=odd", "unknown canonicalization"),
        (rb"d=example.org", b"d=exa mple", "malformed d="),
        (rb"s=s1", b"s=a..b", "malformed s="),
        (rb"s=s1", b"s=a/b", "malformed s="),
        (rb"h=[^;]*", b"h=to:subject", "From is not signed"),
        (rb"h=[^;]*", b"h=from" + b":x" * 1000, "too many names in h="),
        (rb"bh=[^;]*", b"bh=?", "malformed bh="),
        (rb"t=\d+", b"t=soon", "malformed t="),
        (rb"t=\d+", b"t=1; i=@evil.test", "i= is not within d="),
        (rb"t=\d+", b"t=1; i=@notexample.org", "i= is not within d="),
        (rb"t=\d+", b"t=9; x=8", "signature has expired"),
        (rb"t=\d+", b"t=99999999999", "signature is from the future"),
        (rb"t=\d+", b"l=999999", "l= is longer than the body"),
        (rb"t=\d+", b"l=0", "only part of the body is signed"),
        (rb"t=\d+", b"q=http", "unknown query method"),
        (rb"t=\d+", b"t=1; t=1", "malformed signature"),
        (rb"t=\d+", b"y=" + b"x" * 20_000, "signature field is too long"),
    ],
)
def test_signatures_that_are_wrong(rsa_pair: Any, pattern: bytes, by: bytes, expected: str) -> None:
    ((result, reason),) = verdicts(edited(sign(MESSAGE, rsa_pair.path), pattern, by), {NAME: rsa_pair.record})
    assert reason == expected
    assert result == {"only part of the body is signed": "policy", "signature has expired": "fail"}.get(
        expected, "fail" if "future" in expected else "permerror"
    )


def test_part_of_the_body_signed_is_no_pass_even_when_the_signature_is_good(rsa_pair: Any) -> None:
    signed = dkimpy_sign(MESSAGE, rsa_pair, length=True)
    assert verdicts(signed, {NAME: rsa_pair.record}) == [("pass", "")]
    longer = signed + b"an advertisement\r\n"
    assert dkimpy_verifies(longer, rsa_pair.record)
    assert verdicts(longer, {NAME: rsa_pair.record}) == [("policy", "only part of the body is signed")]


def test_at_most_ten_signatures_and_names_are_asked_once(rsa_pair: Any) -> None:
    signed = MESSAGE
    for _ in range(12):
        signed = sign(MESSAGE, rsa_pair.path).removesuffix(MESSAGE) + signed
    message = FakeMessage(signed)
    made = host({NAME: rsa_pair.record})
    answers = asyncio.run(made.message_authenticate.all(session=FakeSession(), message=message))  # type: ignore[union-attr]
    assert [result.result for _, result in answers] == ["pass"] * 10
    assert made.services.dns.asked == [("txt", NAME)]  # type: ignore[attr-defined]


def test_each_signature_is_judged_for_itself(rsa_pair: Any, ed_pair: Any) -> None:
    one = sign(MESSAGE, rsa_pair.path).removesuffix(MESSAGE)
    two = sign(MESSAGE, ed_pair.path, selector="e1").removesuffix(MESSAGE)
    bad = edited(one, rb"a=rsa-sha256", b"a=none")
    octets = bad + two + one + MESSAGE
    results = authenticate(octets, {NAME: rsa_pair.record, "e1._domainkey.example.org": ed_pair.record})
    assert [result.result for result in results] == ["permerror", "pass", "pass"]
    assert [dict(result.properties)["header.s"] for result in results] == ["s1", "e1", "s1"]


@pytest.mark.parametrize(
    "field",
    [
        b"DKIM-Signature: v=1; b=" + b" " * 15_000 + b"\r\n",
        b"DKIM-Signature: " + b";" * 15_000 + b"\r\n",
        b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1; bh=AAAA; b=AAAA; h=from" + b":x:y" * 499 + b"\r\n",
    ],
)
def test_hostile_headers_cost_little(rsa_pair: Any, field: bytes) -> None:
    octets = field * 10 + b"x: 1\r\ny: 2\r\n" * 40_000 + MESSAGE
    before = time.process_time()
    authenticate(octets, {NAME: rsa_pair.record})
    assert time.process_time() - before < 3.0


@given(VALUES, st.sampled_from(["simple", "relaxed"]))
def test_the_signature_field_loses_exactly_its_b(value: bytes, form: Form) -> None:
    field = (b"DKIM-Signature", b" v=1; bh=keep;" + value.replace(b"b=x;", b"") + b"; b= abc\r\n def ; t=1\r\n")
    canonical = canonical_signature(form, field)
    assert b"abc" not in canonical
    assert b"def" not in canonical
    assert canonical.endswith(b"; b=; t=1")
    assert b"bh=keep" in canonical


def test_fields_are_taken_from_the_last(rsa_pair: Any) -> None:
    header, body = split_message([b"A: 1\r", b"\nB: 2\r\nA: 3\r\n\r", b"\nbody", b"more"])
    assert canonical_header("relaxed", header, [b"a", b"b", b"a", b"a"]) == b"a:3\r\nb:2\r\na:1\r\n"
    assert b"".join(body) == b"bodymore"
    assert split_message([b"\r\nbody"])[0] == []
    assert split_message([b"A: 1\r\n"])[0] == [(b"A", b" 1\r\n")]


# ---- OpenDKIM


def opendkim(folder: Path, path: Path, config: str) -> str:
    """Let OpenDKIM process one message in its test mode; return what it would do and say."""
    file = folder / "opendkim.conf"
    file.write_text(config + "\nSyslog no\n")
    command = [str(shutil.which("opendkim")), "-x", str(file), "-t", str(path), "-v", "-v"]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.peer("opendkim")
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_opendkim_verifies_what_we_sign(tmp_path: Path, rsa_pair: Any, ed_pair: Any, kind: str) -> None:
    pair = rsa_pair if kind == "rsa" else ed_pair
    good, bad, data = (tmp_path / name for name in ("good.eml", "bad.eml", "dns"))
    good.write_bytes(sign(MESSAGE, pair.path))
    bad.write_bytes(good.read_bytes().replace(b"Hello", b"Hallo"))
    data.write_bytes(NAME.encode() + b" " + pair.record + b"\n")
    said = opendkim(tmp_path, good, f"Mode v\nTestDNSData file:{data}")
    assert "verification (s=s1, d=example.org" in said, said
    assert "succeeded" in said, said
    assert "succeeded" not in opendkim(tmp_path, bad, f"Mode v\nTestDNSData file:{data}")


@pytest.mark.peer("opendkim")
@pytest.mark.parametrize("form", ["relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"])
def test_we_verify_what_opendkim_signs(tmp_path: Path, rsa_pair: Any, form: str) -> None:
    path = tmp_path / "message.eml"
    octets = MESSAGE.replace(b"Subject:  a", b"Subject: a")
    path.write_bytes(octets)
    config = f"Mode s\nDomain example.org\nSelector s1\nKeyFile {rsa_pair.path}\nCanonicalization {form}\nInternalHosts 0.0.0.0/0\nRequireSafeKeys no\n"
    said = opendkim(tmp_path, path, config + "SignatureAlgorithm rsa-sha256")
    value = re.search(r"hname='DKIM-Signature' hvalue='([^']*)'", said)
    assert value is not None, said
    field = "DKIM-Signature:" + value[1].replace("\r", "").replace("\n", "\r\n") + "\r\n"
    results = [verdicts(head.encode() + octets, {NAME: rsa_pair.record}) for head in (field, field.replace(":", ": ", 1))]
    assert [("pass", "")] in results, (field, results)


def test_base64_prefix_is_that_of_the_field(rsa_pair: Any) -> None:
    signed = sign(MESSAGE, rsa_pair.path)
    (result,) = authenticate(signed, {NAME: rsa_pair.record})
    value = re.search(rb"\tb=(\S+)", signed)
    assert value is not None
    assert dict(result.properties)["header.b"] == value[1][:8].decode()
    assert base64.b64decode(value[1][:8])
