"""Logins from a password file: vectors of the formats, what is refused, changes of the file."""
# SPDX-License-Identifier: Apache-2.0

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mta.model.directory import AuthFail, AuthOk
from mta.model.errors import ConfigError, TemporaryFailure
from mta.pluginhost.host import HookHost
from mta.testing.plugins import FakeSession, RecordingLog, host_with
from mta_htpasswd import Htpasswd
from mta_htpasswd.apr1 import apr1
from mta_htpasswd.config import HtpasswdConfig
from mta_htpasswd.file import PasswordFile
from mta_htpasswd.hashes import verifier_of

# Made by htpasswd -nb of Debian's apache2-utils (password "secret"), openssl passwd, and the papers of the algorithms.
VECTORS = [
    ("$2y$05$9RlReOL6bZJhLUGQjwDlQOUXjBnk/P1XTK9nGeadfiH/HFywUewwO", "secret"),
    ("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "secret"),
    ("$apr1$r4tVx5Z6$oPs.SkbKa5gN3pbyAZDHU/", "secret"),
    ("$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", "myPassword"),
    (
        "$6$nZ5ZNc2TXg.D6pEZ$esXWK71NuxvCWQJqR.SXXr0QjpwtRqeWJuRjN0dmRAqxLAtdo1yMt4CGam9BUN7/JigLXG6Rq0PIScYwljBif0",
        "secret",
    ),
    ("$5$m/S15b2wrBl6Ku9S$BtLWD85isHhsFR7jNDqrVbVk/oqjTUwKtcEWBjjFmX/", "secret"),
    ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
    (
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        "Hello world!",
    ),
    ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0", "secret"),
    ("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password"),
]


def make(path: Path, text: str, mode: int = 0o640) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def host(path: Path, **config: Any) -> HookHost:
    return host_with(Htpasswd(), config={"file": str(path), **config}, log=RecordingLog())


def login(made: HookHost, username: str, password: str) -> AuthOk | AuthFail | None:
    plan = made.auth_verify
    assert plan is not None
    answer: AuthOk | AuthFail | None = asyncio.run(
        plan.first(service="imap", username=username, credential=password, session=FakeSession())
    )
    return answer


@pytest.mark.parametrize(("stored", "password"), VECTORS, ids=[v[0][:9] for v in VECTORS])
def test_vectors(stored: str, password: str) -> None:
    verify = verifier_of(stored)
    assert verify is not None
    assert verify(stored, password.encode())
    assert not verify(stored, password.encode() + b"x")
    assert not verify(stored, b"")
    assert not verify(stored[:-1], password.encode())
    assert not verify(stored[:12], password.encode())


@given(
    password=st.binary(min_size=0, max_size=80).filter(lambda p: b"\0" not in p and b"\n" not in p),
    salt=st.from_regex(r"[./0-9A-Za-z]{1,8}", fullmatch=True),
)
@settings(max_examples=15, deadline=None)
@pytest.mark.peer("openssl")
def test_apr1_agrees_with_openssl(password: bytes, salt: str) -> None:
    made = subprocess.run(
        ["openssl", "passwd", "-apr1", "-salt", salt, "-stdin"], input=password + b"\n", capture_output=True, check=True
    )
    assert apr1(password, salt.encode()) == made.stdout.decode().strip()


@pytest.mark.peer("htpasswd")
@pytest.mark.parametrize("option", ["-B", "-s", "-m", "-5", "-2"])
def test_what_htpasswd_writes_today(tmp_path: Path, option: str) -> None:
    path = tmp_path / "file"
    subprocess.run(["htpasswd", "-cb", option, str(path), "alice@example.org", "pässwörd"], check=True, capture_output=True)
    made = host(path)
    assert login(made, "alice@example.org", "pässwörd") == AuthOk("alice@example.org")
    assert login(made, "alice@example.org", "passwort") == AuthFail()


@pytest.mark.peer("htpasswd")
@pytest.mark.parametrize("option", ["-d", "-p"])
def test_clear_text_and_traditional_crypt_let_nobody_in(tmp_path: Path, option: str) -> None:
    path = tmp_path / "file"
    subprocess.run(["htpasswd", "-cb", option, str(path), "alice@example.org", "secret"], check=True, capture_output=True)
    made = host(path)
    assert login(made, "alice@example.org", "secret") == AuthFail()
    (refused,) = made.services.log.named("htpasswd.entry_refused")  # type: ignore[attr-defined]
    assert refused["line"] == 1
    assert "secret" not in str(refused)


@pytest.mark.parametrize(
    "stored", ["secret", "", "*", "!", "$1$abc$xyz", "$2y$", "$apr1$", "$apr1$a", "{SHA}", "$argon2id$", "$6$"]
)
def test_what_is_no_hash_lets_nobody_in(tmp_path: Path, stored: str) -> None:
    made = host(make(tmp_path / "file", f"alice@example.org:{stored}\n"))
    for password in ("secret", stored, "*0", "*1", "x"):
        assert login(made, "alice@example.org", password) == AuthFail()


def test_argon2_as_the_server_itself_makes_it(tmp_path: Path) -> None:
    stored = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    made = host(make(tmp_path / "file", f"alice@example.org:{stored}\n"))
    assert login(made, "alice@example.org", "secret") == AuthOk("alice@example.org")
    assert login(made, "alice@example.org", "Secret") == AuthFail()


SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="


def test_names(tmp_path: Path) -> None:
    path = make(tmp_path / "file", f"# staff\n\nAlice:{SHA}\nbob@Example.ORG:{SHA}:Bob's gecos\ncarol@example.net:{SHA}\nbroken\n")
    made = host(path, domain="Example.org")
    alice, bob = AuthOk("alice@example.org"), AuthOk("bob@example.org")
    for username, expected in {
        "alice": alice, "ALICE@example.org": alice, "bob": bob, "bob@EXAMPLE.org": bob, "carol@example.net": AuthOk("carol@example.net"),
        "alice@example.net": None, "carol": None, "dave": None, "": None, "@": None, "a b": None, "# staff": None, "broken": None,
    }.items():  # fmt: skip
        assert login(made, username, "secret") == expected, username
    assert [f["line"] for f in made.services.log.named("htpasswd.entry_refused")] == [6]  # type: ignore[attr-defined]


def test_without_a_domain_bare_names_are_nobody(tmp_path: Path) -> None:
    made = host(make(tmp_path / "file", f"alice:{SHA}\n"))
    assert login(made, "alice", "secret") is None
    assert login(made, "alice@example.org", "secret") is None


def test_the_first_of_two_entries_counts(tmp_path: Path) -> None:
    made = host(make(tmp_path / "file", f"alice@a.test:{SHA}\nAlice@A.test:{VECTORS[3][0]}\n"))
    assert login(made, "alice@a.test", "secret") == AuthOk("alice@a.test")
    assert login(made, "alice@a.test", "myPassword") == AuthFail()


def test_sole_domains_are_answered_for(tmp_path: Path) -> None:
    made = host(make(tmp_path / "file", f"alice@a.test:{SHA}\n"), sole=["A.test"])
    assert login(made, "nobody@a.test", "secret") == AuthFail()
    assert login(made, "nobody@b.test", "secret") is None
    empty = host(make(tmp_path / "empty", ""), sole=["a.test"])
    assert login(empty, "nobody@a.test", "") == AuthFail()
    assert login(empty, "nobody@a.test", "x") == AuthFail()


def test_a_stranger_of_a_sole_domain_costs_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = verifier_of(SHA)
    assert real is not None
    monkeypatch.setattr(
        "mta_htpasswd.file.verifier_of", lambda _: lambda stored, octets: asked.append(stored) or real(stored, octets)
    )
    made = host(make(tmp_path / "file", f"alice@a.test:{SHA}\n"), sole=["a.test"])
    assert login(made, "nobody@a.test", "secret") == AuthFail()
    assert asked == [SHA]


@pytest.mark.parametrize("password", ["", "secret\0", "secret\0x", "x" * 513])
def test_what_is_no_password(tmp_path: Path, password: str) -> None:
    made = host(make(tmp_path / "file", f"alice@a.test:{SHA}\n"))
    assert login(made, "alice@a.test", password) == AuthFail()


def test_changes_are_seen_at_once(tmp_path: Path) -> None:
    path = make(tmp_path / "file", f"alice@a.test:{SHA}\n")
    made = host(path)
    assert login(made, "alice@a.test", "secret") == AuthOk("alice@a.test")
    path.write_text(f"alice@a.test:{VECTORS[3][0]}\n")
    assert login(made, "alice@a.test", "secret") == AuthFail()
    assert login(made, "alice@a.test", "myPassword") == AuthOk("alice@a.test")
    os.replace(make(tmp_path / "new", f"bob@a.test:{SHA}\n"), path)
    assert login(made, "alice@a.test", "myPassword") is None
    assert login(made, "bob@a.test", "secret") == AuthOk("bob@a.test")
    assert len(made.services.log.named("htpasswd.read")) == 3  # type: ignore[attr-defined]


def test_auth_cache_mix_up(tmp_path: Path) -> None:
    """Two users of one file, remembered or not: each has his own password, and an equal one is nobody else's."""
    one, two = (next(stored for stored, password in VECTORS if password == wanted) for wanted in ("secret", "myPassword"))
    made = host(make(tmp_path / "file", f"alice@a.test:{one}\nbob@a.test:{two}\nalice@b.test:{two}\n"))
    right = {"alice@a.test": "secret", "bob@a.test": "myPassword", "alice@b.test": "myPassword"}
    for _ in range(2):
        for user, own in right.items():
            for password in ("secret", "myPassword"):
                answer = login(made, user, password)
                assert isinstance(answer, AuthOk) is (own == password), (user, password)
                assert not isinstance(answer, AuthOk) or answer.user == user


def test_a_success_is_remembered_and_a_change_forgets_it(tmp_path: Path) -> None:
    stored = VECTORS[0][0]
    file = PasswordFile.read(str(make(tmp_path / "file", f"alice@a.test:{stored}\n")))
    verify = verifier_of(stored)
    assert verify is not None
    assert file.verify(stored, b"secret")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mta_htpasswd.file.verifier_of", lambda _: lambda *_: False)
        assert file.verify(stored, b"secret")
        assert not file.verify(stored, b"other")
        assert not PasswordFile.read(str(tmp_path / "file")).verify(stored, b"secret")


@pytest.mark.parametrize("harm", ["gone", "world-writable", "a folder"])
def test_a_file_that_cannot_be_trusted_means_try_again_later(tmp_path: Path, harm: str) -> None:
    path = make(tmp_path / "file", f"alice@a.test:{SHA}\n")
    made = host(path)
    assert login(made, "alice@a.test", "secret") == AuthOk("alice@a.test")
    if harm == "world-writable":
        path.chmod(0o666)
    else:
        path.unlink()
        if harm == "a folder":
            path.mkdir()
    for _ in range(2):
        with pytest.raises(TemporaryFailure):
            login(made, "alice@a.test", "secret")
    assert made.services.log.named("htpasswd.unreadable")  # type: ignore[attr-defined]


def test_startup_names_file_and_key(tmp_path: Path) -> None:
    plugin = Htpasswd()
    made = host_with(plugin, config={"file": str(tmp_path / "absent")})
    with pytest.raises(ConfigError, match=r"absent: plugins\.\w+\.file"):
        asyncio.run(plugin.startup(made.plugins[next(iter(made.plugins))].context))


def test_config_is_checked() -> None:
    for wrong in ({}, {"file": "relative"}, {"file": "/f", "domain": "a b"}, {"file": "/f", "sole": ["-"]}, {"file": "/f", "x": 1}):
        with pytest.raises(ValidationError):
            HtpasswdConfig.model_validate(wrong)
