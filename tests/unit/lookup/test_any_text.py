"""Whatever stands in a file, it is read: problems are lines with a reason, never an exception; and whatever is asked has an answer."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mta.lookup.file import READERS
from mta.model.address import Address
from mta_access.actions import BadAction as BadAccess
from mta_access.actions import read_action as read_access
from mta_checks.actions import BadAction as BadCheck
from mta_checks.actions import read_action as read_check
from mta_srs.scheme import NotReversible, Scheme
from mta_transport.value import BadTransport, read_transport
from mta_virtual.targets import split_targets

WORDS = st.sampled_from(
    [
        "/",
        "/^a(.*)$/ ",
        "if ",
        "if /x/",
        "endif",
        "!",
        "\n",
        "\n ",
        "\r\n",
        "#",
        " ",
        "\t",
        "$1",
        "$",
        "${2}",
        "(a+)+",
        "[",
        "192.0.2.0/24 ",
        "::/0 ",
        '"',
        "\\",
        ":",
        ",",
        "x",
        "é",
        "\0",
        "1{9}{9}",
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map("".join))


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.text(max_size=30))
def test_files(text: str, key: str) -> None:
    lines = text.count("\n") + 1
    for read in READERS.values():
        content = read(text)
        assert all(1 <= line <= lines and why for line, why in content.problems)
        value = content.get(key)
        assert value is None or isinstance(value, str)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=40),
        st.tuples(
            st.sampled_from(
                ["REJECT", "550", "4.7.1", "PREPEND", "REDIRECT", "BCC", "smtp:", "lmtp:unix:", "error:", "[", "discard:"]
            ),
            st.text(max_size=20),
        ).map(" ".join),
    )
)
def test_values(text: str) -> None:
    """What is read is fit for a reply: one line of printable ASCII."""
    for read, bad in ((read_access, BadAccess), (lambda value, _: read_check(value), BadCheck)):
        try:
            step = read(text, "x")
        except bad:
            continue
        if step.verdict is not None and step.verdict.code:
            assert step.verdict.text.isascii()
            assert step.verdict.text.isprintable()
            assert step.verdict.enhanced[0] == str(step.verdict.code)[0]
    try:
        read_transport(text, {})
    except BadTransport:
        pass
    assert all(item.strip() for item in split_targets(text))
    try:
        Scheme("x.org", [b"secret key"]).reverse(Address(f"SRS0={text}", "x.org"), 0.0)
    except NotReversible:
        pass
