"""Secrets are compared in constant time, wherever they are: no ``==`` between values that are named like one."""
# SPDX-License-Identifier: Apache-2.0

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET = re.compile(
    r"(^|_)(password|passwd|secret|token|proof|credential|mac|signature|hash|digest)s?($|_)|password|stored_key", re.IGNORECASE
)
NO_SECRETS = {
    ("mta/app/rehearsal.py", "credential == self.secret"),  # a rehearsal's own, over memory
    ("mta/smtpd/proxy.py", "signature == V2_SIGNATURE"),  # of a protocol
    ("mta/lookup/file.py", "signature == known"),  # size and time of a file
    ("plugins/mta_htpasswd/file.py", "_signature(os.stat(self._path)) != self._signature"),
    ("mta/directory/elsewhere.py", "await self._directory.password_hash(user.id) == ELSEWHERE"),  # a mark: no password here
    ("mta/wire/mime/places.py", "(token == b'.') != (i % 2 == 1)"),
    ("plugins/mta_dkim/verify.py", "signature.length != size"),
    ("plugins/mta_dkim/keyrecord.py", "signature.identity != signature.domain"),
    ("plugins/mta_scram/__init__.py", "keys.hash == self.hash"),  # "sha256"
    ("plugins/mta_oauth/jwt.py", "k.id == token.key_id"),
}


def comparisons(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        sides = [node.left, *node.comparators]
        plain = any(isinstance(side, ast.Constant) for side in sides)
        text = ast.unparse(node)
        names = [getattr(each, "id", None) or getattr(each, "attr", "") for side in sides for each in ast.walk(side)]
        if not plain and "len(" not in text and " is None" not in text and any(map(SECRET.search, names)):
            yield text


def test_secret_comparison() -> None:
    """CVE-2026-27856. What an unknown account costs: tests/unit/directory/test_passwords.py."""
    found = {
        (str(path.relative_to(ROOT)), text)
        for root in ("mta", "plugins", "hooks/mta_hooks")
        for path in (ROOT / root).rglob("*.py")
        if "testing" not in path.parts
        for text in comparisons(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == NO_SECRETS, "compare with hmac.compare_digest, or say why it is no secret"


def test_a_comparison_of_secrets_is_seen() -> None:
    assert list(comparisons(ast.parse("if given == self.password: pass"))) == ["given == self.password"]
