"""Maildir trees: Maildir++ (``.Sent.2024``), or folders within folders; flags in names, keywords of ``dovecot-keywords``."""
# SPDX-License-Identifier: Apache-2.0

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mta.model.errors import MailError
from mta.model.message import Flags, OctetContent
from mta.transfer.take import Folder, Found, crlf, mailbox_name
from mta.wire.imap.mailbox import decode_utf7
from mta.wire.imap.scanner import Malformed
from mta.wire.mbox import usable

FLAGS = {"D": Flags.DRAFT, "F": Flags.FLAGGED, "R": Flags.ANSWERED, "S": Flags.SEEN, "T": Flags.DELETED}
KEYWORDS = "dovecot-keywords"
SUBSCRIPTIONS = "subscriptions"
MOST_KEYWORDS = 26
_ESCAPED = re.compile(r"\\([0-9a-fA-F]{2})")


def is_maildir(path: Path) -> bool:
    return (path / "cur").is_dir()


def folders(root: Path) -> list[tuple[Folder, Path]]:
    """INBOX first. Raises MailError when there is no Maildir."""
    wanted = _subscribed(root)
    found = [(["INBOX"], root)] if is_maildir(root) else []
    for path in sorted(root.rglob("cur")):
        at = path.parent
        if at == root or path.is_symlink() or not path.is_dir() or at.name in ("cur", "new", "tmp"):
            continue
        parts = at.relative_to(root).parts
        levels = parts[0][1:].split(".") if len(parts) == 1 and parts[0].startswith(".") else [p.removeprefix(".") for p in parts]
        found.append(([_decoded(level) for level in levels], at))
    if not found:
        raise MailError(f"{root}: no Maildir: it has no folder cur, nor has a folder below it")
    out = []
    for levels, at in found:
        name = mailbox_name(levels)
        out.append((Folder(name, subscribed=wanted is None or name in wanted), at))
    return out


def _decoded(level: str) -> str:
    plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), level)
    try:
        return decode_utf7(plain.encode("ascii")) if plain.isascii() else plain
    except Malformed:
        return plain


def _subscribed(root: Path) -> frozenset[str] | None:
    """Names in the file that Dovecot and we keep; None: there is none."""
    try:
        lines = (root / SUBSCRIPTIONS).read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    separator = "\t" if lines and lines[0].startswith("V\t2") else "."
    names = [line for line in lines if line and not line.startswith("V\t")]
    return frozenset(mailbox_name([_decoded(level) for level in re.split(rf"[{separator}/]", name)]) for name in names)


def entries(folder: Path) -> list[Path]:
    """Message files, oldest name first."""
    found = []
    for part in ("new", "cur"):
        if (folder / part).is_dir():
            found += [Path(entry.path) for entry in os.scandir(folder / part) if not entry.name.startswith(".") and entry.is_file()]
    return sorted(found, key=lambda path: path.name)


def messages(folder: Path, files: list[Path]) -> Iterator[Found]:
    """What a running server renames meanwhile is found under its new name."""
    table = _table(folder)
    for path in files:
        read = _read(path)
        if read is None:
            continue
        octets, date, name = read
        letters = name.partition(":2,")[2].partition(",")[0]
        flags = Flags(0)
        for letter in letters:
            flags |= FLAGS.get(letter, Flags(0))
        words = [table[ord(letter)] for letter in letters if ord(letter) in table]
        yield Found(OctetContent(crlf(octets)), flags, usable(words), date, str(path))


def _read(path: Path) -> tuple[bytes, int, str] | None:
    """(octets, date, name); None: it is gone."""
    for _ in range(2):
        try:
            with path.open("rb") as file:
                return file.read(), int(os.fstat(file.fileno()).st_mtime), path.name
        except FileNotFoundError:
            stem = path.name.partition(":")[0]
            renamed = [other for other in entries(path.parent.parent) if other.name.partition(":")[0] == stem]
            if not renamed:
                return None
            path = renamed[0]
    return None


def _table(folder: Path) -> dict[int, str]:
    """By the letter's number."""
    try:
        lines = (folder / KEYWORDS).read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(" ") for line in lines)
    return {97 + int(number): word for number, _, word in pairs if number.isdecimal() and int(number) < MOST_KEYWORDS and word}
