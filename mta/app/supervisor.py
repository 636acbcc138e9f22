"""``mta serve``: binds the sockets, starts the workers, keeps them alive, stops them. Plain and synchronous: no loop, no thread.

SIGTERM and SIGINT drain, a second one stops at once; SIGHUP reloads: the new config is checked first, then new workers
start, and when they serve the old ones drain. The listening sockets stay open all the while.
"""
# SPDX-License-Identifier: Apache-2.0

import os
import selectors
import signal
import socket
import time
from contextlib import suppress
from typing import Literal

from mta import __version__
from mta.app import systemd, worker
from mta.app.board import Board
from mta.app.control import Answer, Call, Control
from mta.app.family import Member, Patience, buried, fork
from mta.app.live import Live, Overview
from mta.app.places import Places
from mta.app.setting import Setting, prepare, start_log
from mta.app.worker import Job
from mta.config.load import InvalidConfig, LoadedConfig, load
from mta.model.errors import ConfigError
from mta.net.tls import stamps_of
from mta.obs.log import Log

State = Literal["starting", "running", "reloading", "stopping"]

_KILL_AFTER = 10.0  # seconds beyond the drain
_LOOK_AT_CERTIFICATE = 60.0
_FORK_AGAIN = 1.0


class Supervisor:
    def __init__(self, loaded: LoadedConfig, pid_file: str = "") -> None:
        self._file = os.path.abspath(loaded.file)
        self._pid_file = pid_file
        self._log = Log()
        self._places = Places(loaded.config.data_dir)
        self._setting = prepare(loaded, self._places, [], systemd.handed_over(), self._log)
        self._next: Setting | None = None
        self._state: State = "starting"
        self._generation = 1
        self._members: dict[int, Member] = {}
        self._restarts: dict[int, float] = {}
        self._restarted = 0
        self._patience = Patience()
        self._board = Board()
        self._live = Live()
        self._selector = selectors.DefaultSelector()
        self._status = 0
        self._reload_wanted: list[Call | None] = []
        self._reload_calls: list[Call] = []
        self._stop_at = 0.0
        self._started = time.time()
        self._certificate = stamps_of(self._setting.loaded)
        self._certificate_at = time.monotonic() + _LOOK_AT_CERTIFICATE

    def run(self) -> int:
        """Until told to stop. Returns the exit status."""
        self._signals_in, self._signals_out = socket.socketpair()
        for end in (self._signals_in, self._signals_out):
            end.setblocking(False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, _noted)
        signal.set_wakeup_fd(self._signals_out.fileno(), warn_on_full_buffer=False)
        self._selector.register(self._signals_in, selectors.EVENT_READ, self._signalled)
        self._lifeline, self._lifeline_held = os.pipe()
        self._control = Control(self._places.control, self._selector, self._command)
        self._write_pid_file()
        config = self._setting.loaded.config
        self._log.info("server.starting", version=__version__, pid=os.getpid(), workers=config.workers, config=self._file)
        try:
            self._start_generation(self._setting)
            while self._members or (self._restarts and self._state != "stopping"):
                self._turn()
        finally:
            self._end()
        return self._status

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._wait()):
            key.data()
        now = time.monotonic()
        for number in [n for n, due in self._restarts.items() if due <= now]:
            del self._restarts[number]
            if self._state != "stopping":
                self._fork(self._setting, number)
        for member in list(self._members.values()):
            if member.retired and now > member.retired + self._grace():
                self._log.error("worker.killed", pid=member.pid, reason="did not drain in time")
                member.signal(signal.SIGKILL)
                member.retired = now
        if now >= self._certificate_at:
            self._look_at_certificate()
        if self._state == "running" and self._reload_wanted:
            self._reload()

    def _wait(self) -> float:
        now = time.monotonic()
        due = [self._certificate_at, *self._restarts.values()]
        due += [m.retired + self._grace() + 0.01 for m in self._members.values() if m.retired]
        return 0.0 if self._state == "running" and self._reload_wanted else max(0.0, min(due) - now)

    def _grace(self) -> float:
        return self._setting.loaded.config.drain + _KILL_AFTER

    # ---- workers

    def _start_generation(self, setting: Setting) -> None:
        for number in range(int(setting.loaded.config.workers)):
            self._fork(setting, number)

    def _fork(self, setting: Setting, number: int) -> None:
        taken = {m.slot for m in self._members.values()}
        slot = self._board.free_slot(taken)
        old = self._setting.loaded if setting is self._next else None
        slots = max(taken | {slot}) + 1 + int(setting.loaded.config.workers)

        def life(pipe: int) -> int:
            setting.close_others(self._setting.listening)  # what a reload removes must not stay open in the new workers
            return worker.main(
                Job(
                    loaded=setting.loaded,
                    old=old,
                    listening=setting.listening,
                    tls=setting.tls,
                    places=self._places,
                    account=setting.account,
                    board=self._board,
                    live=self._live,
                    slots=slots,
                    number=number,
                    slot=slot,
                    ready=pipe,
                    lifeline=self._lifeline,
                    log=self._log.bind(worker=number),
                )
            )

        try:
            pid, pipe = fork(life, self._close_in_child)
        except OSError as exc:
            self._log.error("worker.not_started", problem=exc.strerror)
            self._restarts[number] = time.monotonic() + _FORK_AGAIN
            return
        member = Member(pid, number, self._generation, slot, pipe)
        self._members[pid] = member
        self._selector.register(pipe, selectors.EVENT_READ, lambda: self._heard(member))

    def _close_in_child(self) -> None:
        self._selector.close()
        self._control.close_in_child()
        for end in (self._signals_in, self._signals_out):
            end.close()
        os.close(self._lifeline_held)
        for member in self._members.values():
            if member.pipe >= 0:
                os.close(member.pipe)

    def _heard(self, member: Member) -> None:
        if member.pipe < 0:  # buried by a signal of the same turn
            return
        if not member.hear():
            self._hang_up(member)
        self._look_if_ready()

    def _hang_up(self, member: Member) -> None:
        if member.pipe >= 0:
            self._selector.unregister(member.pipe)
            os.close(member.pipe)
            member.pipe = -1

    def _look_if_ready(self) -> None:
        """Every worker of the new generation serves: say so, or retire the old one."""
        if self._state not in ("starting", "reloading"):
            return
        newest = [m for m in self._members.values() if m.generation == self._generation]
        wanted = int((self._next or self._setting).loaded.config.workers)
        if sum(m.ready for m in newest) < wanted:
            return
        if self._state == "starting":
            self._say_listening(self._setting, set())
            self._log.info("server.ready", workers=wanted, seconds=round(time.time() - self._started, 3))
        else:
            self._reloaded()
        self._state = "running"
        systemd.notify(READY=1, STATUS=f"{wanted} workers", MAINPID=os.getpid())

    def _say_listening(self, setting: Setting, known: set[object]) -> None:
        for one in setting.listening:
            if one.key not in known:
                self._log.info("listening", url=one.spec.url, address=one.describe())

    def _bury(self) -> None:
        for member, status in buried(list(self._members.values())):
            while member.pipe >= 0 and member.hear():
                if not member.octets:
                    break
            self._hang_up(member)
            del self._members[member.pid]
            self._board.clear(member.slot)
            self._live.bury(member.slot)
            self._ended(member, status)

    def _ended(self, member: Member, status: int) -> None:
        if self._state == "stopping" or member.retired:
            self._log.info("worker.stopped", worker=member.number, pid=member.pid, status=status)
            return
        self._log.error("worker.died", worker=member.number, pid=member.pid, status=status, reason=member.failure or _why(status))
        if self._state == "starting":
            self._status = status if status > 0 else worker.EX_SOFTWARE
            self._stop()
        elif self._state == "reloading" and member.generation == self._generation:
            self._reload_failed(member.failure or f"a new worker ended: {_why(status)}")
        else:
            self._restarted += 1
            self._live.restarted()
            self._restarts[member.number] = time.monotonic() + self._patience.after(member, status)

    # ---- reload

    def _reload(self) -> None:
        calls = [call for call in self._reload_wanted if call is not None]
        self._reload_wanted.clear()
        self._reload_calls += calls
        systemd.notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            loaded = load(self._file)
            if Places(loaded.config.data_dir).data_dir != self._places.data_dir:
                raise loaded.mistake("data_dir", "cannot change while the server runs", "stop it, move the folder, start it again.")
            self._next = prepare(loaded, self._places, self._setting.listening, [], self._log)
        except ConfigError as exc:
            self._say_reload_failed(str(exc), exc)
            return
        self._state = "reloading"
        self._generation += 1
        self._restarts.clear()
        self._log.info("reload.started", workers=loaded.config.workers)
        self._start_generation(self._next)

    def _reloaded(self) -> None:
        assert self._next is not None
        old, self._setting, self._next = self._setting, self._next, None
        self._say_listening(self._setting, {one.key for one in old.listening})
        self._setting.close_others(old.listening)
        self._certificate = stamps_of(self._setting.loaded)
        for member in self._members.values():
            if member.generation != self._generation:
                member.retire()
        self._log.info("reload.done", workers=self._setting.loaded.config.workers)
        self._answer_reload(ok=True)

    def _reload_failed(self, problem: str) -> None:
        assert self._next is not None
        self._setting.close_others(self._next.listening)
        self._next = None
        for member in self._members.values():
            if member.generation == self._generation:
                member.retire()
        start_log(self._setting.loaded)
        self._state = "running"
        missing = set(range(int(self._setting.loaded.config.workers)))
        missing -= {m.number for m in self._members.values() if not m.retired}
        self._restarts.update(dict.fromkeys(missing, time.monotonic()))
        self._say_reload_failed(problem, None)

    def _say_reload_failed(self, problem: str, exc: ConfigError | None) -> None:
        for one in exc.problems if isinstance(exc, InvalidConfig) else [exc or problem]:
            self._log.error("reload.failed", problem=str(one), kept="the old config")
        systemd.notify(READY=1, STATUS="reload failed, the old config is kept")
        self._answer_reload(ok=False, error=problem)

    def _answer_reload(self, **values: object) -> None:
        for call in self._reload_calls:
            call.answer(**values)
        self._reload_calls.clear()

    def _look_at_certificate(self) -> None:
        self._certificate_at = time.monotonic() + _LOOK_AT_CERTIFICATE
        stamp = stamps_of(self._setting.loaded)
        if stamp and stamp != self._certificate and self._state == "running":
            self._certificate = stamp
            self._log.info("tls.certificate_changed", certificate=self._setting.pair.certificate)
            self._reload_wanted.append(None)

    # ---- signals and commands

    def _signalled(self) -> None:
        try:
            numbers = self._signals_in.recv(256)
        except BlockingIOError:
            return
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number == signal.SIGHUP:
                self._reload_wanted.append(None)
        self._bury()

    def _command(self, command: str, call: Call) -> None:
        if command == "status":
            call.answer(**self._describe())
        elif command == "live":
            slots = max((m.slot for m in self._members.values()), default=0) + 1
            call.answer(**Overview(self._board, self._live, slots, int(self._setting.loaded.config.workers)).describe())
        elif command == "reload" and self._state != "stopping":
            self._reload_wanted.append(call)
        elif command == "stop":
            call.answer(ok=True)
            self._stop()
        else:
            call.answer(ok=False, error=f"cannot {command} now")

    def _describe(self) -> Answer:
        lines = [(m, self._board.read(m.slot)) for m in sorted(self._members.values(), key=lambda m: (m.generation, m.number))]
        return {
            "ok": True,
            "version": __version__,
            "pid": os.getpid(),
            "state": self._state,
            "started": self._started,
            "config": self._file,
            "restarts": self._restarted,
            "listening": [{"url": one.spec.url, "address": one.describe()} for one in self._setting.listening],
            "workers": [
                {
                    "worker": m.number,
                    "pid": m.pid,
                    "state": "draining" if m.retired else "serving" if m.ready else "starting",
                    "seconds": round(time.monotonic() - m.started, 1),
                    "smtp": line.smtp,
                    "imap": line.imap,
                    "pop3": line.pop3,
                    "http": line.http,
                    "dispatch": bool(line.dispatch),
                }
                for m, line in lines
            ],
        }

    def _stop(self) -> None:
        if self._state == "stopping":
            if self._members:
                self._log.warning("server.stopping_at_once")
            for member in self._members.values():
                member.signal(signal.SIGKILL)
            return
        self._state = "stopping"
        self._log.info("server.stopping", drain=self._setting.loaded.config.drain)
        systemd.notify(STOPPING=1)
        self._restarts.clear()
        self._answer_reload(ok=False, error="the server stops")
        for member in self._members.values():
            member.retire()

    # ---- first and last things

    def _write_pid_file(self) -> None:
        if self._pid_file:
            try:
                with open(self._pid_file, "w", encoding="ascii") as stream:
                    stream.write(f"{os.getpid()}\n")
            except OSError as exc:
                raise ConfigError("--pid-file", self._pid_file, f"cannot be written: {exc.strerror}") from exc

    def _end(self) -> None:
        for member in self._members.values():
            member.signal(signal.SIGKILL)
        self._control.close()
        signal.set_wakeup_fd(-1)
        for one in self._setting.listening:
            one.sock.close()
            if one.spec.path:
                with suppress(OSError):
                    os.unlink(one.spec.path)
        if self._pid_file:
            with suppress(OSError):
                os.unlink(self._pid_file)
        self._log.info("server.stopped", status=self._status)


def _noted(_number: int, _frame: object) -> None:
    """The wake-up descriptor carries the number; Python wants a handler for it to be written."""


def _why(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
