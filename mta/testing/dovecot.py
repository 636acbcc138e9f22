"""Dovecot's own IMAP process over one Maildir, without a daemon: the peer for what both servers keep in its files."""
# SPDX-License-Identifier: Apache-2.0

import imaplib
import os
import shlex
from pathlib import Path

PROGRAM = "/usr/lib/dovecot/imap"
_CONFIG = """
base_dir={folder}/run
log_path={folder}/log
mail_location=maildir:{maildir}
mail_plugins=
{ids}
ssl=no
namespace inbox {{
  inbox=yes
  separator=/
}}
"""


class Dovecot:
    """``folder``: for its config and log. As root the Maildir and everything in it must belong to ``uid``, since Dovecot never serves as root."""

    uid = 65534 if os.geteuid() == 0 else os.geteuid()

    def __init__(self, folder: Path, maildir: Path) -> None:
        self.maildir, self.log = maildir, folder / "log"
        (folder / "run").mkdir(parents=True, exist_ok=True)
        self.log.touch()
        ids = f"mail_uid={self.uid}\nmail_gid={self.uid}\nfirst_valid_uid=1\nfirst_valid_gid=1" if os.geteuid() == 0 else ""
        self._config = folder / "dovecot.conf"
        self._config.write_text(_CONFIG.format(folder=folder, maildir=maildir, ids=ids), encoding="utf-8")
        if os.geteuid() == 0:
            for path in (folder, folder / "run", self.log):
                os.chown(path, self.uid, self.uid)

    def imap(self) -> imaplib.IMAP4_stream:
        """Logged in."""
        home = shlex.quote(str(self.maildir.parent))
        return imaplib.IMAP4_stream(f"USER=peer HOME={home} exec {PROGRAM} -c {shlex.quote(str(self._config))}")
