#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That clients of a private pmd start one, and only one, whatever is in the way. Argument: the build directory."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from pmdtest import PATIENCE, Tap, wait_until

N_CLIENTS = 20


class Instance:
    def __init__(self, build):
        self.dir = tempfile.mkdtemp(prefix="pmd-launch-")
        self.home = os.path.join(self.dir, "home")
        self.runtime = os.path.join(self.home, "run")
        self.socket = os.path.join(self.runtime, "pmd.sock")
        self.pmctl = os.path.abspath(os.path.join(build, "src", "pmctl"))
        self.pmd = os.path.abspath(os.path.join(build, "src", "pmd"))
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "PMD_HOME": self.home, "LC_ALL": "C.UTF-8"}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for pid in self.keepers() + self.pids():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.pids(), "the end of pmd")
        shutil.rmtree(self.dir, ignore_errors=True)

    def processes(self, *args):
        found = []
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    if f.read() == "".join(a + "\0" for a in args).encode():
                        found.append(int(entry))
            except OSError:
                continue
        return found

    def pids(self):
        """The processes that are a pmd of this instance, zombies not."""
        return self.processes(self.pmd, "--private=" + self.home)

    def keepers(self):
        return self.processes("pmd-keeper", self.pmd, "--private=" + self.home)

    def popen(self, *args):
        return subprocess.Popen(
            [self.pmctl, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def run(self, *args):
        p = self.popen(*args)
        output = p.communicate(timeout=3 * PATIENCE)[0]
        return p.returncode, output

    def ping_at_once(self, n=N_CLIENTS):
        """What the clients that failed have said."""
        clients = [self.popen("ping") for _ in range(n)]
        outputs = [(p.communicate(timeout=3 * PATIENCE)[0], p.returncode) for p in clients]
        return [output for output, status in outputs if status != 0]


def launches_one(tap, build):
    with Instance(build) as i:
        tap.equal(i.ping_at_once(), [], f"{N_CLIENTS} clients at once find a pmd")
        first = i.pids()
        tap.equal(len(first), 1, "it is one")
        keepers = i.keepers()
        tap.equal(len(keepers), 1, "with one keeper")
        with open(f"/proc/{first[0]}/stat", encoding="utf-8") as f:
            session, terminal = f.read().rsplit(")", 1)[1].split()[3:5]
        tap.check(terminal == "0" and int(session) != os.getsid(0), "it has a session of its own and no terminal", (session, terminal))
        tap.equal(os.readlink(f"/proc/{first[0]}/cwd"), "/", "it keeps no directory busy")
        tap.equal(oct(os.stat(os.path.join(i.home, "pmd.log")).st_mode & 0o777), "0o600", "its log is private")

        os.kill(first[0], signal.SIGKILL)
        tap.equal(i.ping_at_once(), [], "and again after SIGKILL to it")
        second = i.pids()
        tap.check(len(second) == 1 and second != first, "it is one, and another", (first, second))
        tap.equal(i.keepers(), keepers, "the keeper is the same")

        p = subprocess.run([i.pmd, "--keeper", "--private=" + i.home], env=i.env, capture_output=True, text=True, timeout=PATIENCE, check=False)
        tap.check(p.returncode == 75 and "runs already" in p.stderr, "a second keeper is refused", p)

        for pid in keepers + second:
            os.kill(pid, signal.SIGKILL)
        tap.equal(i.ping_at_once(), [], "and again after SIGKILL to both")
        tap.equal((len(i.pids()), len(i.keepers())), (1, 1), "there is one of each")


HOLD_LOCK = """
import ctypes, fcntl, os, sys
CLONE_FILES, SIGCHLD = 0x400, 17
f = open(sys.argv[1], "w")
fcntl.lockf(f, fcntl.LOCK_EX)
if ctypes.CDLL(None).syscall({"x86_64": 56}.get(os.uname().machine, 220), CLONE_FILES | SIGCHLD, 0, 0, 0, 0) == 0:
    os.write(1, b"x")
    os.read(0, 1)
os._exit(0)
"""


def waits_for_orphaned_lock(tap, build):
    """A child that had pmd's descriptors when pmd was killed is about to let go of them."""
    with Instance(build) as i:
        os.makedirs(i.runtime, 0o700)
        holder = subprocess.Popen([sys.executable, "-c", HOLD_LOCK, os.path.join(i.runtime, "pmd.lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holder.stdout.read(1)
        holder.wait()  # its child has the lock now
        client = subprocess.Popen([i.pmctl, "ping"], env=i.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: i.pids() or client.poll() is not None, "pmd")
        tap.check(client.poll() is None, "pmd waits for a lock that a dead one had", client)
        holder.stdin.close()
        _, error = client.communicate(timeout=PATIENCE)
        with open(os.path.join(i.home, "pmd.log"), encoding="utf-8") as f:
            log = f.read()
        tap.check(client.returncode == 0 and "Another pmd" not in log, "and serves when it has it", (error, log))


def survives_leftovers(tap, build):
    with Instance(build) as i:
        os.makedirs(i.runtime, 0o700)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.bind(i.socket)
        for name in ("launch.lock", "pmd.lock"):
            with open(os.path.join(i.runtime, name), "w", encoding="utf-8") as f:
                f.write("1\n")
        tap.equal(i.ping_at_once(), [], "a socket and locks that were left behind do not matter")
        tap.equal(len(i.pids()), 1, "there is one pmd")


def tells_what_is_wrong(tap, build):
    """pmd's own last words, and not those of the keeper that sees it end."""
    with Instance(build) as i:
        os.makedirs(os.path.join(i.runtime, "processes"), mode=0o700)
        status, output = i.run("ping")
        tap.check(status == 69 and f"from {i.runtime}: Is a directory" in output and "ended with status" not in output, "why no pmd comes up is told",
                  (status, output))


def competes(tap, build):
    """With a pmd that somebody starts by hand, and with one that ends."""
    with Instance(build) as i:
        by_hand = subprocess.Popen([i.pmd, "--private=" + i.home], env=i.env, stderr=subprocess.DEVNULL)
        tap.equal(i.ping_at_once(), [], "clients do not mind a pmd that is started by hand at the same time")
        wait_until(lambda: len(i.pids()) == 1, "one pmd")
        i.run("kill")
        by_hand.wait(PATIENCE)

        failures = []
        for _ in range(5):
            failures += i.ping_at_once(4)
            status, output = i.run("kill")
            if status != 0:
                failures.append(output)
            if i.pids():
                failures.append("pmd was not gone when 'kill' returned")
        tap.equal(failures, [], "one that was told to end is not in the way of the next")


def hanging(tap, build, results):
    with Instance(build) as i:
        i.run("ping")
        pid = i.pids()[0]
        os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        status, output = i.run("ping")
        took = time.monotonic() - begin
        os.kill(pid, signal.SIGCONT)
        results.append((status != 0 and f"kill -KILL {pid}" in output and took < 15, "a pmd that hangs is told, with what to do",
                        (status, output, took)))
        status, output = i.run("ping")
        results.append((status == 0 and i.pids() == [pid], "it serves when it goes on", output))


def locked(tap, build, results):
    with Instance(build) as i:
        os.makedirs(i.runtime, 0o700)
        with open(os.path.join(i.runtime, "launch.lock"), "w", encoding="utf-8") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            begin = time.monotonic()
            status, output = i.run("ping")
            took = time.monotonic() - begin
            results.append((status != 0 and "launch.lock" in output and took < 15, "one that launches for ever is told", (status, output, took)))
            results.append((i.pids() == [], "nobody launches without the lock", i.pids()))

            client = i.popen("ping")
            time.sleep(0.3)
        output = client.communicate(timeout=PATIENCE)[0]
        results.append((client.returncode == 0, "one that gives up is succeeded", output))


def run_beside(tap, build, *functions):
    """These wait for time-outs."""
    lists = [[] for _ in functions]
    threads = [threading.Thread(target=f, args=(tap, build, results)) for f, results in zip(functions, lists)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for f, results in zip(functions, lists):
        tap.check(results, f"{f.__name__} came to an end")
        for ok, name, detail in results:
            tap.check(ok, name, detail)


def main():
    build = sys.argv[1]
    tap = Tap()
    launches_one(tap, build)
    survives_leftovers(tap, build)
    waits_for_orphaned_lock(tap, build)
    tells_what_is_wrong(tap, build)
    competes(tap, build)
    run_beside(tap, build, hanging, locked)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
