"""The real daemon with the plugin: who logs in, and who does not."""
# SPDX-License-Identifier: Apache-2.0

import base64
from pathlib import Path

from mta.testing.server import PASSWORD, MailServer

SHA = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="  # secret


def test_submission_takes_passwords_of_the_file_and_of_the_directory(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    file.write_text(f"carol:{SHA}\nalice:{SHA}\n")
    plugin = {"file": str(file), "domain": "example.test"}
    with MailServer({"plugins": {"sql": {}, "htpasswd": plugin}}, protocols=("submission",)) as server:

        def login(name: str, password: str) -> int:
            with server.smtp(protocol="submission") as client:
                words = base64.b64encode(f"\0{name}\0{password}".encode()).decode()
                code: int = client.docmd("AUTH", f"PLAIN {words}")[0]
                return code

        assert login("carol", "secret") == 235
        assert login("Carol@Example.test", "secret") == 235
        assert login("carol", PASSWORD) == 535
        assert login("alice@example.test", PASSWORD) == 535  # the file knows alice
        assert login("alice@example.test", "secret") == 235
        assert login("bob@example.test", PASSWORD) == 235  # it does not know bob: the directory does
        file.chmod(0o666)
        assert login("carol", "secret") == 454
        file.chmod(0o640)
        assert login("carol", "secret") == 235
        assert "secret" not in server.log
