"""Where the server is: two keys of its config, read without a YAML parser.

Both are top-level scalars. A config that is one JSON object is read as JSON; else lines ``key: value``. Values that this
reading cannot be sure of (anchors, block scalars, ``${ENV}``) are refused rather than guessed.
"""
# SPDX-License-Identifier: Apache-2.0

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_FILE = "/etc/mta/mta.yaml"


class BadConfig(Exception):
    """Exit status 78."""


class Place:
    """data_dir is absolute; hostname "" when the config names none."""

    def __init__(self, data_dir: str, hostname: str) -> None:
        self.data_dir = data_dir
        self.hostname = hostname or os.uname().nodename
        self.socket = os.path.join(data_dir, "run", "sendmail.sock")
        self.maildrop = os.path.join(data_dir, "maildrop")


def find(file: str = "") -> Place:
    """Read ``file``, or $MTA_CONFIG, or /etc/mta/mta.yaml. Raises BadConfig."""
    file = file or os.environ.get("MTA_CONFIG") or DEFAULT_FILE
    try:
        with open(file, encoding="utf-8") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise BadConfig(f"{file}: cannot be read: {getattr(exc, 'strerror', 'not UTF-8')}") from exc
    values = _json(file, text) if text.lstrip().startswith("{") else _lines(file, text)
    data_dir = os.path.join(os.path.dirname(os.path.abspath(file)), values.get("data_dir") or "./var")
    return Place(os.path.normpath(data_dir), values.get("hostname", ""))


class _Rules:
    """What json.JSONDecoder tells its C scanner; the module around it takes longer to import than a message to send."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012  # of one process and one text


def _json(file: str, text: str) -> dict[str, str]:
    try:
        tree = _scan(text)
    except Exception:  # noqa: BLE001  # whatever the scanner does without its module: json says what is wrong
        import json

        try:
            tree = json.loads(text)
        except ValueError as exc:
            raise BadConfig(f"{file}: a config that begins with {{ must be JSON for mta-sendmail: {exc}") from exc
    return {key: str(tree[key]) for key in ("data_dir", "hostname") if tree.get(key)}


def _scan(text: str) -> dict[str, object]:
    import _json

    make: Any = _json.make_scanner
    text = text.strip()
    tree, end = make(_Rules())(text, 0)
    if end != len(text):
        raise ValueError
    return dict(tree)


def _lines(file: str, text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, colon, value = line.partition(":")
        if not colon or key not in ("data_dir", "hostname"):
            continue
        value = value.strip()
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            plain = end > 0 and "\\" not in value
            value = value[1:end] if plain else "&"
        else:
            value = value.partition(" #")[0].rstrip()
        if value[:1] in ("&", "*", "|", ">", "!", "{", "[") or "${" in value or value.startswith("file:"):
            raise BadConfig(f"{file}:{number}: {key}: mta-sendmail needs a plain value here")
        values[key] = value
    return values
