"""Real Postfix reads the same files: ``postmap -q`` answers as our tables do, on generated keys."""

import asyncio
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mta.lookup.opened import Lookups
from mta.lookup.text import read_pairs
from mta.pluginhost.threads import Pool
from mta.testing.plugins import RecordingLog
from mta_hooks.lookup import TableOptions
from mta_virtual.targets import split_targets

POSTMAP = shutil.which("postmap") or "/usr/sbin/postmap"
pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not Path(POSTMAP).exists(), reason="postmap (Debian's postfix) is not installed"),
]

TEXT = """# comment
Alice@Example.org   bob@example.net,
   carol@example.net
# between
   dave@example.net
"quoted name"@example.org  x
dup one
dup two
novalue
@example.org catchall
.example.net parent
user1 A B  C
"""
REGEXP = r"""/^(.*)-outgoing@(.*)$/   550 Use ${1}@${2} instead
!/^owner-/ notowner $$
if /^owner-/
/^(owner-)(.*)@(example)\.(org|net)$/  $2@$(3).$4
/-list/ list
  continued
if !/news/
/[[:digit:]]{2,}/ digits
endif
endif
/a(b|c)*d?@/ abc$1
#/x/ comment
/EXAMPLE/i case
~x/y~ tilde
"""
CIDR = """192.0.2.0/24 net
!10.0.0.0/8 outside
if 10.1.0.0/16
10.1.2.3 host
10.1.2.0/25 half
endif
10.0.0.1/8 bad bits
2001:db8::/32 six
10.0.0.0/8 ten
"""


def keys() -> dict[str, list[str]]:
    rng = random.Random(7)
    words = ["alice", "owner-", "owner-x", "news", "-list", "12", "a", "b", "abc", "dup", "user1", "-outgoing", "x/y", "ALICE", "7"]
    domains = ["example.org", "Example.Org", "example.net", "EXAMPLE", ".example.net", "else.test"]
    texts = ["".join(rng.choices(words, k=rng.randint(1, 4))) + rng.choice(["", "@" + rng.choice(domains)]) for _ in range(400)]
    texts += [
        "alice@example.org",
        '"quoted name"@example.org',
        "@example.org",
        ".example.net",
        "dup",
        "user1",
        "novalue",
        "owner-x12@z",
    ]
    addresses = [f"{rng.choice([10, 192, 8])}.{rng.choice([0, 1])}.{rng.choice([2, 9])}.{rng.randint(0, 255)}" for _ in range(150)]
    return {"texthash": texts, "regexp": texts, "cidr": [*addresses, "2001:db8::1", "2001:db9::1", "::1", "none"]}


PIECES = [
    "a",
    "B@Example.org",
    '"q d"@x',
    '"open',
    'x"y',
    "k:",
    "#no",
    " ",
    "\t",
    "  ",
    "\n",
    "\n ",
    "\n\t",
    "\n#c\n",
    "v w",
    ",",
    "\\\\",
    "\u00e9",
]


def test_texts_at_random_are_read_alike(tmp_path: Path) -> None:
    rng = random.Random(11)
    path = tmp_path / "map"
    for _ in range(20):
        text = "".join(rng.choices(PIECES, k=rng.randint(20, 120))) + "\n"
        path.write_bytes(text.encode())
        os.utime(path, (1, 1))  # Postfix waits for a file that was written just now
        done = subprocess.run([POSTMAP, "-s", f"texthash:{path}"], capture_output=True, check=False)
        theirs = sorted(line for line in done.stdout.decode("utf-8", "surrogateescape").split("\n") if line)
        assert sorted(f"{key}\t{value}" for key, value in read_pairs(text).values.items()) == theirs, text


ALIASES = """# comment
Postmaster: root
root:   alice,
        "bob smith"@example.org , carol
"odd name": dave
list: :include:/etc/list
prog: "|/usr/bin/vacation -a x"
dup: one
dup: two
"""


def test_postalias_and_we_agree(tmp_path: Path) -> None:
    path = tmp_path / "aliases"
    path.write_text(ALIASES)
    postalias = str(Path(POSTMAP).with_name("postalias"))
    subprocess.run([postalias, f"hash:{path}"], capture_output=True, check=True)
    names = ["postmaster", "root", "odd name", "list", "prog", "dup", "none"]
    done = subprocess.run(
        [postalias, "-q", "-", f"hash:{path}"], input="\n".join(names) + "\n", capture_output=True, text=True, check=False
    )
    theirs = dict(re.split(r":?\t", line, maxsplit=1) for line in done.stdout.splitlines())
    table = Lookups(TableOptions("", "", Pool("test"), RecordingLog())).table(f"aliases:{path}")

    async def ours() -> dict[str, list[str]]:
        return {name: split_targets(value) for name in names if (value := await table.get(name)) is not None}

    assert asyncio.run(ours()) == {name: split_targets(value) for name, value in theirs.items()}
    assert len(theirs) == 6


@pytest.mark.parametrize(("scheme", "text"), [("texthash", TEXT), ("regexp", REGEXP), ("cidr", CIDR)])
def test_postmap_and_we_agree(scheme: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "map"
    path.write_text(text)
    os.utime(path, (1, 1))
    asked = [key for key in dict.fromkeys(keys()[scheme]) if key.strip()]
    done = subprocess.run(
        [POSTMAP, "-q", "-", f"{scheme}:{path}"], input="\n".join(asked) + "\n", capture_output=True, text=True, check=False
    )
    theirs = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    table = Lookups(TableOptions("", "", Pool("test"), RecordingLog())).table(f"{scheme}:{path}")

    async def ours() -> dict[str, str]:
        return {key: value for key in asked if (value := await table.get(key)) is not None}

    assert asyncio.run(ours()) == theirs
    assert len(theirs) > 3
