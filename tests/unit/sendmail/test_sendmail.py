"""The sendmail command in pieces: options, header, place, envelope."""
# SPDX-License-Identifier: Apache-2.0

import json

import pytest

from mta.sendmail import message, options, place, submit


def test_joined_and_separate_values() -> None:
    for words in (
        ["-fa@b.test", "-FFull Name", "x@y"],
        ["-f", "a@b.test", "-F", "Full Name", "x@y"],
        ["-r", "a@b.test", "-FFull Name", "x@y"],
    ):
        chosen = options.parse(words)
        assert (chosen.sender, chosen.name, chosen.recipients) == ("a@b.test", "Full Name", ["x@y"])


def test_null_sender_and_double_dash() -> None:
    chosen = options.parse(["-oi", "-f", "", "--", "-odd@x.test"])
    assert chosen.sender == ""
    assert chosen.recipients == ["-odd@x.test"]
    assert not chosen.dot_ends
    assert options.parse(["-f<>"]).sender == ""
    assert options.parse(["x"]).sender is None


@pytest.mark.parametrize(
    "words",
    [
        "-FCronDaemon -i -B8BITMIME -oem root",
        "-FAnacron -odi root",
        "-oem -oi -f a@b -N failure,delay -R hdrs -B8BITMIME -- r@x",
        "-i -t -f a@b -v",
        "-t -i -fa@b",
        "-Am -bm -G -U -n -m -x -oA/tmp/x -h 5 -p smtp -L tag -O DeliveryMode=b -X log -dropcr -em r@x",
    ],
)
def test_what_callers_pass_is_taken(words: str) -> None:
    options.parse(words.split())


@pytest.mark.parametrize("words", ["-z", "-f", "-bs", "-N sometimes", "-N never,delay", "-R all", "-B FOO"])
def test_usage_errors(words: str) -> None:
    with pytest.raises(options.Usage):
        options.parse(words.split())


def test_dsn_options_reach_the_envelope() -> None:
    chosen = options.parse(["-N", "success,failure", "-R", "full", "-V", "a+b", "x@y"])
    envelope = submit.Envelope("s@t", ["x@y"], chosen.notify, chosen.ret, chosen.envid)
    assert envelope.commands(b"h\xc3\xa4") == [
        b"MAIL FROM:<s@t> SIZE=3 BODY=8BITMIME RET=FULL ENVID=a+2Bb\r\n",
        b"RCPT TO:<x@y> NOTIFY=FAILURE,SUCCESS\r\n",
    ]


def test_a_line_end_cannot_leave_an_address() -> None:
    with pytest.raises(submit.Refused) as info:
        submit.Envelope("a@b", ["x@y>\r\nRCPT TO:<evil@z"]).commands(b"")
    assert info.value.status == 65


@pytest.mark.parametrize(
    ("given", "dot_ends", "expected"),
    [
        (b"a\nb\n", True, b"a\r\nb\r\n"),
        (b"a\r\nb\r\n", True, b"a\r\nb\r\n"),
        (b"a\rb", True, b"a\r\nb\r\n"),
        (b"a\n.\nb\n", True, b"a\r\n"),
        (b"a\n.\nb\n", False, b"a\r\n.\r\nb\r\n"),
        (b".\n", True, b""),
        (b"a\n.", True, b"a\r\n"),
        (b"From x Mon\nSubject: y\n\n", True, b"Subject: y\r\n\r\n"),
    ],
)
def test_text_becomes_a_message(given: bytes, dot_ends: bool, expected: bytes) -> None:
    assert message.normalise(given, dot_ends) == expected


def test_nul_is_refused() -> None:
    with pytest.raises(message.Unsendable):
        message.normalise(b"a\0b", True)


def test_recipients_come_from_the_header() -> None:
    fields, _ = message.split(
        b'To: "A, B" <a@x.test>, b@x.test (com, ment),\r\n group: c@x.test, "q@q"@x.test;\r\nCc: <@r.test,d@x.test>\r\nBcc: e@x.test\r\n\r\nTo: no@x\r\n'
    )
    found = message.recipients_of(fields)
    assert found[:4] == ["a@x.test", "b@x.test", "c@x.test", '"q@q"@x.test']
    assert found[-1] == "e@x.test"
    assert "no@x" not in found


def test_resent_fields_win() -> None:
    fields, _ = message.split(b"To: a@x\r\nResent-To: b@x\r\n\r\n")
    assert message.recipients_of(fields) == ["b@x"]


def test_completion_adds_from_and_takes_bcc_and_return_path() -> None:
    fields, body = message.split(b"Return-Path: <x@y>\r\nBcc: b@x\r\n  c@x\r\nSubject: s\r\n\r\nbody\r\n")
    assert message.complete(fields, body, "me@h", "A. User", True) == b'From: "A. User" <me@h>\r\nSubject: s\r\n\r\nbody\r\n'
    fields, body = message.split(b"no header here\r\nat all\r\n")
    assert message.complete(fields, body, "me@h", "", True) == b"From: me@h\r\n\r\nno header here\r\nat all\r\n"


def test_the_address_parser_is_linear() -> None:
    assert message.addresses("(" * 200_000) == []
    assert len(message.addresses("a@b," * 50_000)) == 50_000


def test_place_reads_yaml_and_json(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mta.yaml"
    file.write_text('hostname: "mx.test"\nlimits:\n  data_dir: no\ndata_dir: ./state   # here\n')
    found = place.find(str(file))
    assert (found.data_dir, found.hostname) == (str(tmp_path / "state"), "mx.test")
    file.write_text(json.dumps({"data_dir": "/srv/ü\\x", "hostname": "mx.test", "plugins": {"sql": {"data_dir": "x"}}}, indent=1))
    assert place.find(str(file)).data_dir == "/srv/ü\\x"
    file.write_text("{}")
    assert place.find(str(file)).data_dir == str(tmp_path / "var")


@pytest.mark.parametrize(
    "text", ["data_dir: ${HOME}/x", "data_dir: |\n  x", '{"data_dir": "x', '{"data_dir": "x"} trailing', "data_dir: &a x"]
)
def test_place_refuses_what_it_cannot_be_sure_of(tmp_path, text: str) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mta.yaml"
    file.write_text(text)
    with pytest.raises(place.BadConfig):
        place.find(str(file))


def test_the_command_imports_little() -> None:
    """Each of these takes longer to import than handing over a message."""
    import subprocess
    import sys

    code = "import sys; sys.path.insert(0, '.'); import mta.sendmail.main; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-IS", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"re", "json", "socket", "enum", "typing", "email", "argparse", "subprocess"} & set(loaded)
