"""The command line of sendmail, as callers really write it (joined values, ``--``, options of thirty years).

Understood: -t -i -oi -oem -f -r -F -B -N -R -V -bm -bp -bi -q -C -- and recipients. Taken without effect, since scripts pass
them: -A -G -U -L -n -v -x -E -m -o… -O -h -p -X -d -e -bh -bH -dropcr. Everything else is a usage error.
"""
# SPDX-License-Identifier: Apache-2.0

_VALUED = "fFrBNRVChpXLO"
_IGNORED_FLAGS = "GUnvxEm"
_RET = {"hdrs": "HDRS", "full": "FULL"}
_NOTIFY = {"success", "failure", "delay", "never"}


class Usage(Exception):
    """Exit status 64."""


class Options:
    """sender None: the caller's own address; "" is the null sender. mail_errors: unknown recipients are told by mail (-oem)."""

    def __init__(self) -> None:
        self.sender: str | None = None
        self.name = ""
        self.from_headers = False
        self.dot_ends = True
        self.mail_errors = False
        self.config = ""
        self.mode = "m"
        self.notify = ""
        self.ret = ""
        self.envid = ""
        self.recipients: list[str] = []


def parse(argv: list[str], program: str = "sendmail") -> Options:
    """``argv`` without the program's name. Raises Usage."""
    options = Options()
    options.mode = {"mailq": "p", "newaliases": "i"}.get(program, "m")
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            options.recipients += words
            break
        if not word.startswith("-") or word == "-":
            options.recipients.append(word)
            continue
        _option(options, word, words)
    if options.sender is not None and options.sender.startswith("<") and options.sender.endswith(">"):
        options.sender = options.sender[1:-1]
    return options


def _option(options: Options, word: str, words: list[str]) -> None:
    letter, rest = word[1], word[2:]
    if word == "-dropcr":
        return
    if letter in _VALUED:
        if not rest:
            if not words:
                raise Usage(f"option -{letter} needs a value")
            rest = words.pop(0)
        _valued(options, letter, rest)
    elif letter == "b":
        _mode(options, rest)
    elif letter == "o":
        if rest[:1] == "i":
            options.dot_ends = False
        elif rest == "em":
            options.mail_errors = True
        elif not rest and words:
            words.pop(0)
    elif letter == "q":
        options.mode = "q"
    elif letter not in "Aed":
        _flags(options, word)


def _flags(options: Options, word: str) -> None:
    for flag in word[1:]:  # -ti is -t -i
        if flag == "t":
            options.from_headers = True
        elif flag == "i":
            options.dot_ends = False
        elif flag not in _IGNORED_FLAGS:
            raise Usage(f"unknown option {word}")


def _mode(options: Options, rest: str) -> None:
    if rest[:1] in {"m", "p", "i"}:
        options.mode = rest[0]
    elif rest[:1] not in {"h", "H"}:
        raise Usage(f"mode -b{rest} is not offered here; the server is mta serve, tests are mta explain")


def _valued(options: Options, letter: str, value: str) -> None:
    if letter in "fr":
        options.sender = value
    elif letter == "F":
        options.name = value
    elif letter == "C":
        options.config = value
    elif letter == "V":
        options.envid = value
    elif letter == "R":
        if value.lower() not in _RET:
            raise Usage("-R takes hdrs or full")
        options.ret = _RET[value.lower()]
    elif letter == "N":
        words = set(value.lower().split(","))
        if not words <= _NOTIFY or ("never" in words and len(words) > 1):
            raise Usage("-N takes never, or some of success,failure,delay")
        options.notify = ",".join(sorted(words)).upper()
    elif letter == "B" and value.upper() not in {"7BIT", "8BITMIME"}:
        raise Usage("-B takes 7BIT or 8BITMIME")
