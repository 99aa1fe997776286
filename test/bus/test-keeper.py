#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That the keeper starts pmd again, keeps its descriptors, tells how orphans ended, and is in nobody's way. Argument: the build directory.

Most of it with a stand-in for pmd: this file, called by the keeper as "test-keeper.py child SCENE DIRECTORY"."""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from pmdtest import PATIENCE, Tap, wait_until

LISTEN_FDS_START = 3
EXIT_RECORD = struct.Struct("iiiIQ")
CLD_EXITED, CLD_KILLED = 1, 2


# ---- the stand-in ----


class Child:
    """Incarnation n, 0 for the first. What it says is read by the test from a file, a line of JSON each."""

    def __init__(self, directory):
        self.directory = directory
        with open(os.path.join(directory, "starts"), "a+", encoding="utf-8") as f:
            f.write("x")
            self.n = f.tell() - 1
        self.inherited = {}
        if int(os.environ.get("LISTEN_PID", "0")) == os.getpid():
            for i, name in enumerate(os.environ["LISTEN_FDNAMES"].split(":")):
                self.inherited.setdefault(name, []).append(LISTEN_FDS_START + i)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.connect("\0" + os.environ["NOTIFY_SOCKET"].removeprefix("@"))

    def notify(self, *lines, fds=()):
        socket.send_fds(self.socket, ["\n".join(lines).encode()], list(fds))

    def push(self, name, fd, *lines):
        self.notify("FDSTORE=1", "FDNAME=" + name, *lines, fds=[fd])

    def say(self, **what):
        with open(os.path.join(self.directory, "said"), "a", encoding="utf-8") as f:
            f.write(json.dumps({"pid": os.getpid(), **what}) + "\n")

    def names(self):
        return sorted(name for name, fds in self.inherited.items() for _ in fds)

    def wait_for(self, *signals):
        return signal.sigwait(signals)


def die(signo=signal.SIGKILL):
    os.kill(os.getpid(), signo)
    time.sleep(PATIENCE)


def links_of(pid):
    directory = f"/proc/{pid}/fd"
    links = []
    for fd in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(os.path.join(directory, fd)))
    return links


def pipe_with(data):
    r, w = os.pipe()
    os.write(w, data)
    return r, w


def child_fds(c):
    """The first leaves descriptors of every kind, those behind it tell what they got."""
    if c.n == 0:
        r, w = pipe_with(b"unread")
        os.close(w)
        c.push("hung-up", r, "FDPOLL=0")
        polled, w = pipe_with(b"")
        os.close(w)
        c.push("polled-and-hung-up", polled)
        polled, writer = pipe_with(b"polled")
        c.push("polled", polled)
        c.push("writer", writer, "FDPOLL=0")
        other = os.open("/dev/null", os.O_RDONLY)
        for _ in range(3):
            c.push("same", r, "FDPOLL=0")
        c.push("removed", r, "FDPOLL=0")
        c.push("removed", other, "FDPOLL=0")
        c.push("kept", r, "FDPOLL=0")
        c.notify("FDSTOREREMOVE=1", "FDNAME=removed")
        c.notify("FDSTOREREMOVE=1", "FDNAME=never there")
        c.push("with:colon", r, "FDPOLL=0")
        c.push("exits", r, "FDPOLL=0")
        c.notify("FDSTORE=1", "FDPOLL=0", fds=[r])
        c.notify("FDSTORE=1", "FDNAME=several", "FDPOLL=0", fds=[r, other])
        c.notify("FDSTORE=1", "FDNAME=cut" + "x" * 5000, fds=[r])
        if os.fork() == 0:
            c.push("of a stranger", r, "FDPOLL=0")
            c.notify("READY=1", "STATUS=I am pmd")
            os._exit(0)
        os.wait()
        c.push("file", os.open(__file__, os.O_RDONLY))
        c.notify("READY=1")
        c.say(names=c.names())
        die()
    c.notify("READY=1")
    c.say(names=c.names(), unread=os.read(c.inherited["hung-up"][0], 99).decode() if c.n == 1 else None)
    if c.n == 1:
        c.notify("FDSTOREREMOVE=1", "FDNAME=writer")
        os.close(c.inherited["writer"][0])
        pipe = os.readlink(f"/proc/self/fd/{c.inherited['polled'][0]}")
        wait_until(lambda: pipe not in links_of(os.getppid()), "the end of the watched pipe")
        die()
    c.wait_for(signal.SIGTERM)


def child_cap(c):
    if c.n == 0:
        r, w = os.pipe()
        for i in range(100):
            c.push(f"fd{i}", r, "FDPOLL=0")
        c.notify("READY=1")
        c.say()
        die()
    c.notify("READY=1")
    c.say(n=len(c.names()), usable=all(os.fstat(fd) for fds in c.inherited.values() for fd in fds))
    c.wait_for(signal.SIGTERM)


def child_ends(c):
    """Ends as the files in its directory say, in their order: an exit status or "-SIGNAL", "ready" before it or not."""
    with open(os.path.join(c.directory, "script"), encoding="utf-8") as f:
        ready, how = f.read().splitlines()[c.n].split()
    c.say()
    if ready == "ready":
        c.notify("READY=1")
    if int(how) < 0:
        die(-int(how))
    sys.exit(int(how))


def child_orphans(c):
    if c.n == 0:
        for name, command in (("early", "exit 7"), ("late", "sleep 1000")):
            gate, opens = os.pipe()
            p = subprocess.Popen(["/bin/sh", "-c", "read x; " + command], stdin=gate, start_new_session=True,
                                 preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, []))
            with open(f"/proc/{p.pid}/stat", encoding="utf-8") as f:
                started = int(f.read().rsplit(")", 1)[1].split()[19])
            c.push("gate-" + name, opens, "FDPOLL=0")
            c.say(name=name, child=p.pid, started=started)
        c.notify("READY=1")
        die()
    c.notify("READY=1")
    c.say(record=None, blocking=os.get_blocking(c.inherited["exits"][0]))
    if c.n == 1:
        os.write(c.inherited["gate-early"][0], b"\n")
    while True:
        try:
            pid, code, status, _, started = EXIT_RECORD.unpack(os.read(c.inherited["exits"][0], EXIT_RECORD.size))
            c.say(record=[pid, code, status, started])
        except BlockingIOError:
            if signal.sigtimedwait([signal.SIGTERM], 0.01):
                return


def child_signals(c):
    c.notify("READY=1", "STATUS=here")
    c.say(signal=None, blocked=sorted(str(s) if s > 31 else signal.Signals(s).name for s in signal.pthread_sigmask(signal.SIG_BLOCK, [])))
    while True:
        s = c.wait_for(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
        c.say(signal=signal.Signals(s).name)
        if s == signal.SIGTERM:
            if c.n == 0:
                die() # before everything is stopped
            c.notify("STOPPING=1", "FDSTOREREMOVE=1", "FDNAME=x")
            return


def child_crashes(c):
    """Dies as soon as it is ready, until it is told to end."""
    c.say(terminated=bool(signal.sigtimedwait([signal.SIGTERM], 0.1)))
    c.notify("READY=1")
    if read_lines(c.directory)[-1]["terminated"]:
        return
    die(signal.SIGSEGV)


def child_address(c):
    c.notify("READY=1")
    c.say(address=os.environ["NOTIFY_SOCKET"])
    signal.pause()


def child_watchdog(c):
    """The first gives signs of life and then none, the second stops itself."""
    interval = int(os.environ["WATCHDOG_USEC"]) / 1e6
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    c.notify("READY=1")
    c.say(interval=interval, pid_matches=os.environ["WATCHDOG_PID"] == str(os.getpid()))
    if c.n == 2:
        c.wait_for(signal.SIGTERM)
        return
    if c.n == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    for _ in range(4):
        time.sleep(interval / 3)
        c.notify("WATCHDOG=1")
    c.say(alive=True)
    time.sleep(PATIENCE)


# ---- the test ----


def read_lines(directory):
    try:
        with open(os.path.join(directory, "said"), encoding="utf-8") as f:
            return [json.loads(line) for line in f.read().splitlines()]
    except FileNotFoundError:
        return []


class Keeper:
    """One that runs a scene. upstream: it is started by somebody who wants to be notified."""

    def __init__(self, build, scene, script=None, upstream=False, nofile=None, watchdog_usec=None):
        self.dir = tempfile.mkdtemp(prefix="pmd-keeper-")
        if script:
            with open(os.path.join(self.dir, "script"), "w", encoding="utf-8") as f:
                f.write("\n".join(script))
        env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
        self.upstream = None
        if upstream:
            self.upstream = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.upstream.bind("")
            self.upstream.settimeout(PATIENCE)
            env["NOTIFY_SOCKET"] = "@" + self.upstream.getsockname()[1:].decode()
        if watchdog_usec:
            env["WATCHDOG_USEC"] = str(watchdog_usec)

        def prepare():
            if nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
            signal.signal(signal.SIGCHLD, signal.SIG_IGN) # it has to cope

        self.log_path = os.path.join(self.dir, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(build, "src", "pmd-keeper"), sys.executable, os.path.abspath(__file__), "child", scene, self.dir],
                env=env, stderr=log, preexec_fn=prepare,
            )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        for line in self.said():
            for pid in (line["pid"], line.get("child")):
                with contextlib.suppress(ProcessLookupError, TypeError):
                    os.kill(pid, signal.SIGKILL)
        if self.upstream:
            self.upstream.close()
        log = self.log()
        if exc[0]:
            print(log, self.said(), file=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)
        if "Sanitizer" in log:
            raise RuntimeError(log)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def said(self):
        return read_lines(self.dir)

    def wait_for_lines(self, n):
        wait_until(lambda: len(self.said()) >= n, f"{n} lines: {self.said()} {self.log()}")
        return self.said()

    def wait(self):
        return self.process.wait(PATIENCE)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait()


def keeps_descriptors(tap, build):
    with Keeper(build, "fds") as k:
        lines = k.wait_for_lines(3)
        tap.equal(lines[0]["names"], ["exits"], "the first pmd gets nothing but the pipe of exits")
        tap.equal(lines[1]["names"], ["exits", "file", "hung-up", "kept", "polled", "same", "several", "several", "stored", "writer"],
                  "the next pmd gets what was pushed and not removed")
        tap.equal(lines[1]["unread"], "unread", "a pipe whose writer is gone still has what was written")
        tap.equal(lines[2]["names"], ["exits", "file", "hung-up", "kept", "same", "several", "several", "stored"],
                  "without FDPOLL=0 a descriptor is dropped as soon as its other end is closed")
        tap.check(len({line["pid"] for line in lines}) == 3, "each is another process", lines)
        tap.equal(k.end(), 0, "the keeper ends as pmd ends")

    with Keeper(build, "cap", nofile=128) as k:
        lines = k.wait_for_lines(2)
        tap.equal((lines[1]["n"], lines[1]["usable"]), (49, True), "it keeps as many as it can pass on")
        tap.check(k.log().count("Failed to keep") == 52, "and tells of the others", k.log())


def ends(tap, build):
    for script, status, n in (
        (["ready 0"], 0, 1),
        (["ready 2"], 2, 1),
        (["no 3"], 3, 1),
        (["no 75"], 75, 1),
        (["no -9"], 128 + 9, 1),
        (["ready -9", "ready 1", "ready -11", "ready 0"], 0, 4),
        (["ready -9", "no 1", "no -9", "ready 2"], 2, 4),
        (["ready -9", "no 75", "ready 0"], 75, 2),
    ):
        with Keeper(build, "ends", script) as k:
            tap.equal((k.wait(), len(k.said())), (status, n), ", ".join(script))


def tells_exits(tap, build):
    with Keeper(build, "orphans") as k:
        early, late = k.wait_for_lines(4)[:2]
        lines = k.said()
        tap.equal(lines[2]["blocking"], False, "the pipe of exits does not block")
        tap.equal(lines[3]["record"], [early["child"], CLD_EXITED, 7, early["started"]], "an orphan's exit status is told")
        # One that ends while there is no pmd.
        os.kill(k.process.pid, signal.SIGSTOP)
        os.kill(k.said()[-1]["pid"], signal.SIGKILL)
        os.kill(late["child"], signal.SIGUSR1)
        os.kill(k.process.pid, signal.SIGCONT)
        lines = k.wait_for_lines(6)
        records = [line["record"] for line in lines[4:] if line["record"]]
        tap.equal(records, [[late["child"], CLD_KILLED, signal.SIGUSR1, late["started"]]], "the signal that killed another while there was no pmd, too")
        tap.check(not os.path.exists(f"/proc/{late['child']}"), "both are reaped")
        tap.equal(k.end(), 0, "the keeper ends")


def passes_on(tap, build):
    with Keeper(build, "signals", upstream=True) as k:
        lines = k.wait_for_lines(1)
        tap.equal(k.upstream.recv(4096), b"READY=1\nSTATUS=here", "who started the keeper is told that pmd is ready")
        tap.equal(set(lines[0]["blocked"]), {"SIGCHLD", "SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2", str(signal.SIGRTMIN + 1)}, "no signal comes too early for pmd")
        for i, s in enumerate((signal.SIGHUP, signal.SIGUSR2, signal.SIGINT)):
            k.process.send_signal(s)
            tap.equal(k.wait_for_lines(2 + i)[1 + i]["signal"], s.name, f"{s.name} is passed on")
        tap.equal(k.end(), 0, "a pmd that is killed while it ends gets another try")
        said = [line["signal"] for line in k.said()]
        tap.equal(said[-2:], [None, "SIGTERM"], "and is told to end again")
        tap.equal(k.upstream.recv(4096), b"READY=1\nSTATUS=here", "readiness is told again")
        tap.equal(k.upstream.recv(4096), b"STOPPING=1", "and that it stops, without what is for the keeper")

    with Keeper(build, "signals", upstream=True) as k:
        k.upstream.close()
        k.wait_for_lines(1)
        tap.equal(k.end(), 0, "who started it may be gone")


def slows_down(tap, build):
    with Keeper(build, "crashes") as k:
        begin = time.monotonic()
        wait_until(lambda: "again in 800 ms" in k.log(), "the fourth delay")
        took = time.monotonic() - begin
        delays = [int(ms) for ms in re.findall(r"again in (\d+) ms", k.log())]
        tap.equal(delays, [100, 200, 400, 800], "a pmd that dies and dies is started later and later")
        tap.equal(k.log().count("Starting pmd again"), 5, "after some that were started at once")
        tap.check(took >= 0.7, "it waits indeed", took)
        tap.equal(k.end(), 0, "the keeper can be told to end then, too")
        terminated = [line["terminated"] for line in k.said()]
        tap.check(terminated[-1] and not any(terminated[:-1]), "by a pmd that stops all apps", terminated)


def watches(tap, build):
    with Keeper(build, "watchdog", watchdog_usec=1500000) as k:
        lines = k.wait_for_lines(2)
        tap.equal((lines[0]["interval"], lines[0]["pid_matches"]), (1.5, True), "pmd is told to give signs of life")
        tap.equal(lines[1].get("alive"), True, "while it does it is left alone")
        k.wait_for_lines(3)
        tap.check("was killed by SIGABRT" in k.log(), "it is aborted when it hangs", k.log())
        k.wait_for_lines(4)
        tap.check("was killed by SIGKILL" in k.log(), "and killed if that does not help", k.log())
        tap.equal(k.end(), 0, "the third ends well")


def lingering(seconds):
    """A socket whose last close() would wait, and the other end, which has to stay open for that."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        a = socket.create_connection(server.getsockname())
        b, _ = server.accept()
    a.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            a.send(bytes(65536))
    a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    return a, b


def waits_for_no_stranger(tap, build):
    with Keeper(build, "address") as k:
        address = k.wait_for_lines(1)[0]["address"]
        a, b = lingering(20)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, b:
            s.connect("\0" + address[1:])
            with a:
                socket.send_fds(s, [b"FDSTORE=1"], [a.fileno()])
            begin = time.monotonic()
            os.kill(k.said()[0]["pid"], signal.SIGKILL)
            k.wait_for_lines(2)
            tap.check(time.monotonic() - begin < 10, "what strangers send, and what takes long to close, is not waited for", time.monotonic() - begin)
        os.kill(k.said()[1]["pid"], signal.SIGKILL)


# ---- with the real pmd ----


class Instance:
    def __init__(self, build):
        self.dir = tempfile.mkdtemp(prefix="pmd-keeper-")
        self.home = os.path.join(self.dir, "home")
        self.pmctl = os.path.abspath(os.path.join(build, "src", "pmctl"))
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "PMD_HOME": self.home, "LC_ALL": "C.UTF-8"}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.run("kill")
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args):
        p = subprocess.run([self.pmctl, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=3 * PATIENCE, check=False)
        return p.returncode, p.stdout + p.stderr

    def pid(self):
        try:
            with open(os.path.join(self.home, "run", "pmd.lock"), encoding="utf-8") as f:
                return int(f.read())
        except (OSError, ValueError):
            return 0

    def log(self):
        with open(os.path.join(self.home, "pmd.log"), encoding="utf-8", errors="replace") as f:
            return f.read()


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def is_alive(pid):
    try:
        return status_of(pid)["State"][0] not in "ZX"
    except OSError:
        return False


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private"))


def revives_pmd(tap, build):
    with Instance(build) as i:
        tap.equal(i.run("ping")[0], 0, "pmd is started by a client")
        keeper = int(status_of(i.pid())["PPid"])
        tap.equal(status_of(keeper)["Name"], "pmd-keeper", "it has a keeper")

        pids, failures = {i.pid()}, []
        for n in range(20):
            os.kill(i.pid(), signal.SIGKILL)
            wait_until(lambda: i.pid() not in pids and is_alive(i.pid()), "another pmd")
            pids.add(i.pid())
            if i.run("ping")[0] != 0:
                failures.append(n)
            if n % 5 == 4:
                time.sleep(1.1) # this one lives, so the delays begin anew
        tap.equal(failures, [], "it answers after each of 20 times SIGKILL")
        tap.equal({int(status_of(i.pid())["PPid"])}, {keeper}, "by the same keeper")
        tap.check("times in a row" not in i.log(), "at once each time", i.log())
        if "asan" not in open(f"/proc/{keeper}/maps", encoding="utf-8").read():
            tap.check(private_kib(keeper) <= 200, "which takes 200 KiB at most", private_kib(keeper))

        switches = "voluntary_ctxt_switches"
        before = status_of(keeper)[switches]
        time.sleep(1)
        tap.equal(status_of(keeper)[switches], before, "and sleeps while nothing happens")

        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: not is_alive(keeper), "the end of the keeper")
        pid = i.pid()
        tap.equal(i.run("ping")[0], 0, "pmd serves on when the keeper is killed")
        tap.equal((i.pid(), is_alive(pid)), (pid, True), "the same one")
        tap.equal(i.run("kill")[0], 0, "and ends when it is told to")
        wait_until(lambda: not is_alive(pid), "the end of pmd")

        tap.equal(i.run("ping")[0], 0, "the next client starts another")
        pid = i.pid()
        keeper = int(status_of(pid)["PPid"])
        os.kill(keeper, signal.SIGTERM)
        wait_until(lambda: not is_alive(keeper) and not is_alive(pid), "the end of both")
        tap.check("stopping all apps" in i.log(), "SIGTERM to the keeper ends pmd in good order", i.log())


def main():
    if sys.argv[1] == "child":
        sys.exit(globals()["child_" + sys.argv[2]](Child(sys.argv[3])))
    build = os.path.abspath(sys.argv[1])
    tap = Tap()
    for test in (keeps_descriptors, ends, tells_exits, passes_on, slows_down, watches, waits_for_no_stranger, revives_pmd):
        test(tap, build)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
