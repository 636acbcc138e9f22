"""The helper process: asks libpam through ctypes. Imports nothing of the server.

Started as ``helper.py SERVICE MINIMUM_UID [FOLDER]``. One JSON object a line, first ``{"ready": true}``, then for each question
``{"number", "user", "password", "rhost"}`` an answer ``{"number", "answer", "detail"}``: ok, fail, unknown, or later. Ends with its input.
"""
# SPDX-License-Identifier: Apache-2.0

import ctypes
import ctypes.util
import json
import os
import pwd
import sys
from collections.abc import Callable
from typing import Any

PROMPT_ECHO_OFF, PROMPT_ECHO_ON = 1, 2
RHOST, FAIL_DELAY = 4, 10
SILENT, DISALLOW_NULL_AUTHTOK = 0x8000, 1
SUCCESS, BUF_ERR = 0, 5
UNKNOWN = 10
FAILURES = frozenset({6, 7, 8, 11, 12, 13, 27})
"""PERM_DENIED, AUTH_ERR, CRED_INSUFFICIENT, MAXTRIES, NEW_AUTHTOK_REQD, ACCT_EXPIRED, AUTHTOK_EXPIRED: PAM has judged. The rest is
trouble of its own (AUTHINFO_UNAVAIL, SERVICE_ERR, …): later."""


class Message(ctypes.Structure):
    _fields_ = [("style", ctypes.c_int), ("text", ctypes.c_char_p)]


class Response(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("code", ctypes.c_int)]


_CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(Message)),
    ctypes.POINTER(ctypes.POINTER(Response)),
    ctypes.c_void_p,
)
_DELAY = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)


class Conversation(ctypes.Structure):
    _fields_ = [("converse", _CONVERSE), ("data", ctypes.c_void_p)]


class Pam:
    """libpam. Raises OSError when it is not there, AttributeError when it is too old."""

    def __init__(self, service: str, folder: str) -> None:
        self._service = service.encode()
        self._folder = folder.encode()
        self._pam = ctypes.CDLL(ctypes.util.find_library("pam") or "libpam.so.0")
        self._pam.pam_strerror.restype = ctypes.c_char_p
        self._start: Any = self._pam.pam_start_confdir if folder else self._pam.pam_start  # confdir: Linux-PAM 1.4
        libc = ctypes.CDLL(None)
        libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
        self._calloc, self._strdup = libc.calloc, libc.strdup
        self._no_delay = _DELAY(lambda *_: None)  # the server makes its own, and this process has others to serve

    def judge(self, user: bytes, password: bytes, rhost: bytes) -> tuple[int, str]:
        """Return PAM's code and its text: password first, then the account (expired, locked)."""
        conversation = Conversation(_CONVERSE(self._converse(user, password)), None)
        handle = ctypes.c_void_p()
        folder = (self._folder,) if self._folder else ()
        code: int = self._start(self._service, user, ctypes.byref(conversation), *folder, ctypes.byref(handle))
        if code != SUCCESS:
            return code, f"pam_start: {code}"
        try:
            self._pam.pam_set_item(handle, FAIL_DELAY, self._no_delay)
            if rhost:
                self._pam.pam_set_item(handle, RHOST, rhost)
            for step in (self._pam.pam_authenticate, self._pam.pam_acct_mgmt):
                code = step(handle, SILENT | DISALLOW_NULL_AUTHTOK)
                if code != SUCCESS:
                    break
            text: bytes = self._pam.pam_strerror(handle, code) or b""
            return code, text.decode("utf-8", "replace")[:200]
        finally:
            self._pam.pam_end(handle, code)

    def _converse(self, user: bytes, password: bytes) -> Callable[..., int]:
        """Whatever is asked unseen is the password, whatever is asked in sight the name; PAM frees what it is given."""

        def converse(count: int, messages: Any, responses: Any, _data: object) -> int:
            block = self._calloc(count, ctypes.sizeof(Response))
            if not block:
                return BUF_ERR
            array = ctypes.cast(block, ctypes.POINTER(Response))
            for index in range(count):
                style = messages[index].contents.style
                if style in (PROMPT_ECHO_OFF, PROMPT_ECHO_ON):
                    array[index].text = self._strdup(password if style == PROMPT_ECHO_OFF else user)
            responses[0] = array
            return SUCCESS

        return converse


def answer(pam: Pam, minimum_uid: int, question: dict[str, Any]) -> dict[str, Any]:
    user = question["user"]
    try:
        if pwd.getpwnam(user).pw_uid < minimum_uid:
            return {"answer": "unknown", "detail": "an account of the system"}
    except KeyError:
        pass  # PAM may know accounts that the system does not
    password = question["password"].encode("utf-8", "surrogatepass")
    code, detail = pam.judge(user.encode(), password, question["rhost"].encode("ascii", "replace"))
    if code == SUCCESS:
        return {"answer": "ok"}
    return {"answer": "unknown" if code == UNKNOWN else "fail" if code in FAILURES else "later", "detail": detail}


def main() -> None:
    """Modules, and programs that they start, get neither our input nor our output."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)

    def say(**words: object) -> None:
        answers.write(json.dumps(words).encode("ascii") + b"\n")

    service, minimum_uid, folder = sys.argv[1], int(sys.argv[2]), "".join(sys.argv[3:])
    try:
        pam = Pam(service, folder)
    except (OSError, AttributeError) as exc:
        say(ready=False, detail=f"libpam: {exc}")
        return
    say(ready=True)
    for line in questions:
        question = json.loads(line)
        say(number=question["number"], **answer(pam, minimum_uid, question))


if __name__ == "__main__":
    main()
