#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""When something is short or missing: space, descriptors, memory, /proc, cgroups, a socket, an environment. Apps run on, operations succeed or are
refused with words, and pmd recovers by itself. Argument: the build directory, and how many numbers of allocations that fail are tried (default: 120)."""

import ctypes
import fcntl
import mmap
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

from pmctltest import OK, Instance, expect, show
from pmdtest import PATIENCE, Pmd, Tap, wait_until

def pmd_pid(pm):
    with open(os.path.join(pm.env["PMD_HOME"], "run", "pmd.lock"), encoding="utf-8") as f:
        return int(f.read())


def n_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- a disk that is full, or read-only ----


def fill(path):
    with open(path, "wb", buffering=0) as f:
        for size in (65536, 4096, 1):
            try:
                while True:
                    f.write(bytes(size))
            except OSError:
                pass


def disk_is_short(tap, build, how, word):
    """All that pmd writes is on that disk: what it knows of processes, sockets, logs."""
    with Instance(build) as pm:
        home = pm.env["PMD_HOME"]
        os.makedirs(home)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "pmd-test", home], check=False).returncode != 0:
            tap.check(True, f"a {word} disk # SKIP cannot mount")
            return
        try:
            pm.run("start", "/bin/sleep", "--name", "old", "--", "1000")
            old, pmd = pm.process("old")["pid"], pmd_pid(pm)
            undo = how(home)
            results = [pm.run(*verb) for verb in (("restart", "old"), ("start", "/bin/sleep", "--name", "new", "--", "1000"), ("stop", "old"))]
            tap.check(all(r.returncode == OK or r.stderr.strip() for r in results), f"on a {word} disk operations are done, or refused with words",
                      "\n".join(map(show, results)))
            expect(tap, pm.run("ping"), OK, f"{word} disk: pmd answers")
            tap.equal(pmd_pid(pm), pmd, f"{word} disk: it is the same one")
            expect(tap, pm.run("list"), OK, f"{word} disk: the list is shown")
            new = pm.run("describe", "new")
            tap.check(new.returncode != OK or "what pmd knows of it cannot be written" in new.stdout, f"{word} disk: what is not on file is told", show(new))
            undo()
            expect(tap, pm.run("restart", "old"), OK, f"{word} disk: when that is over, all is done again")
            expect(tap, pm.run("start", "/bin/sleep", "--name", "later", "--", "1000"), OK, f"{word} disk: an app starts")
            pids = {p["name"]: p["pid"] for p in pm.jlist()}
            tap.check(pids["old"] not in (0, old), f"{word} disk: the old app runs")
            wait_until(lambda: "cannot be written" not in pm.run("describe", "all").stdout, "what could not be written")
            os.kill(pmd, signal.SIGKILL)
            wait_until(lambda: pm.run("ping").returncode == OK and pmd_pid(pm) != pmd, "another pmd")
            tap.equal({p["name"]: p["pid"] for p in pm.jlist()}, pids, f"{word} disk: the next pmd knows all of it")
        finally:
            pm.run("kill")
            subprocess.run(["umount", "-l", home], check=False)


def full(home):
    filler = os.path.join(home, "filler")
    fill(filler)
    return lambda: os.unlink(filler)


def disks(tap, build):
    disk_is_short(tap, build, full, "full")


# ---- no descriptors ----


def descriptors(tap, build):
    n = 72  # room for a few apps beside what pmd itself keeps open
    with Pmd(build, nofile=n) as pmd:
        names, error = [], ""
        while len(names) < 40:
            answer, error = pmd.start_sleeper(f"app{len(names)}")
            if not answer:
                break
            names.append(f"app{len(names)}")
            wait_until(lambda: pmd.answers(), "an answer")
        time.sleep(0.2)
        status = {name: process_statuses(pmd, name) for name in names}
        failed = [name for name, s in status.items() if s != ["online"]]
        tap.check(names and len(names) > len(failed), f"with {n} descriptors {len(names) - len(failed)} apps run", f"{status} {error}")
        tap.check(failed or error, "and no more are started", f"{status}")
        tap.check(error or "Too many open files" in pmd.messages(), "which is said", error + pmd.messages()[-2000:])
        tap.check(pmd.answers(), "pmd answers")
        running = [name for name in names if name not in failed]
        for name in running[:3]:
            answer, error = pmd.manager("Stop", "asa{sv}", "1", name, "0")
            tap.check(answer is not None, f"{name} can be stopped", error)
        wait_until(lambda: all(process_statuses(pmd, name) == ["stopped"] for name in running[:3]), "the ends")
        tap.check(True, "those that are stopped have ended")
        answer, error = pmd.manager("Start", "asa{sv}", "1", running[0], "0")
        wait_until(lambda: process_statuses(pmd, running[0]) == ["online"], f"the start {error}")
        tap.check(True, "and there is room again for one")


def process_statuses(pmd, name):
    answer, _ = pmd.manager("ListProcesses", "as", "1", name)
    return [p[4] for p in answer[0]] if answer else []


# ---- no memory ----


class Malloc:
    """One allocation of pmd's own fails: the one of this number, from now on."""

    def __init__(self, build, directory):
        path = os.path.join(directory, "left")
        with open(path, "w+b") as f:
            f.write(bytes(8))
            f.flush()
            self.memory = mmap.mmap(f.fileno(), 8)
        self.left = ctypes.c_long.from_buffer(self.memory)
        self.env = {"LD_PRELOAD": os.path.join(build, "test", "malloc-fails.so"), "MALLOC_LEFT": path}


def memory(tap, build, n):
    if has_sanitizer(build):
        build = os.path.join(os.path.dirname(build), "build-test")
    if not os.path.exists(os.path.join(build, "test", "malloc-fails.so")) or has_sanitizer(build):
        tap.check(True, "allocations that fail # SKIP needs a build without sanitizers")
        return
    with Instance(build) as pm:
        malloc = Malloc(build, pm.dir)
        daemon = subprocess.Popen([os.path.join(build, "src", "pmd"), "--private"], env={**pm.env, **malloc.env}, cwd="/",
                                  stderr=open(os.path.join(pm.dir, "log"), "w", encoding="utf-8"))
        # pmctl itself would start one that is faster.
        wait_until(lambda: os.path.exists(os.path.join(pm.env["PMD_HOME"], "run", "pmd.sock")), "its socket")
        wait_until(lambda: pm.run("ping").returncode == OK, "pmd")
        pm.run("start", "/bin/sleep", "--name", "bystander", "--", "1000")
        bystander = pm.process("bystander")["pid"]
        rounds(pm, malloc, [1] * 3, [])  # what is allocated once
        before, lost, odd, refused = n_fds(daemon.pid), [], [], []
        done = rounds(pm, malloc, [1 + i * i * 250 // (n * n) for i in range(n)], refused, daemon, odd)
        malloc.left.value = 0
        if daemon.poll() is not None:
            lost.append(f"exit status {daemon.returncode}")
        with open(os.path.join(pm.dir, "log"), encoding="utf-8") as f:
            log = f.read()
        tap.equal(lost, [], f"pmd lives when one allocation fails in each of {done} operations, of which {len(refused)} were refused")
        if lost:
            print("".join(f"# {line}\n" for line in log.splitlines()[-15:]))
            return
        tap.equal(odd, [], "what is refused is refused with words")
        tap.check(refused, "some were")
        tap.check(alive(bystander) and pm.process("bystander")["pid"] == bystander, "another app runs on")
        pm.run("delete", "victim")
        expect(tap, pm.run("start", "/bin/sleep", "--name", "after", "--", "1000"), OK, "then all works as before")
        tap.equal(pm.status("after"), ["online"], "an app is up")
        pm.run("delete", "after")
        wait_until(lambda: n_fds(daemon.pid) <= before + 2, f"descriptors: {n_fds(daemon.pid)}, were {before}")
        tap.check(True, "no descriptor is left over")
        children = subprocess.run(["ps", "-o", "comm=", "--ppid", str(daemon.pid)], capture_output=True, text=True, check=False).stdout.split()
        tap.equal(sorted(children), ["sleep"], "nor a process")
        pm.run("kill")
        daemon.wait(PATIENCE)


def has_sanitizer(build):
    with open(os.path.join(build, "src", "pmd"), "rb") as f:
        return b"__asan_init" in f.read()


def rounds(pm, malloc, numbers, refused, daemon=None, odd=None):
    done = 0
    for number in numbers:
        for verb in (("start", "/bin/sleep", "--name", "victim", "--", "1000"), ("restart", "victim"), ("list",), ("stop", "victim"), ("delete", "victim")):
            malloc.left.value = number
            r = pm.run(*verb)
            malloc.left.value = 0
            done += 1
            if daemon and daemon.poll() is not None:
                return done
            if r.returncode != OK:
                refused.append((number, verb[0]))
                if odd is not None and not r.stderr.strip():
                    odd.append((number, verb[0], r.returncode))
        pm.run("delete", "victim")
    return done


# ---- a machine that lacks something ----


def lacking(tap, build, name, prepare, *prefix):
    """The whole life of an app in a mount namespace where that was done."""
    if os.geteuid() != 0:
        tap.check(True, f"{name} # SKIP needs root")
        return
    with Instance(build) as pm:
        os.chmod(pm.dir, 0o777)
        life = f"""
            set -e
            {prepare}
            p() {{ {' '.join(prefix)} {pm.pmctl} "$@"; }}
            p start /bin/sleep --name app --memory-max 100M -- 1000 >start.log 2>&1
            p jlist >jlist.log
            p describe app >describe.log
            p restart app >/dev/null
            p stop app >/dev/null
            p delete app >/dev/null
            p kill >/dev/null 2>&1
            echo lived"""
        r = subprocess.run(["unshare", "--mount", "--propagation=private", "sh", "-c", life], env=pm.env, cwd=pm.dir, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
        start = open(os.path.join(pm.dir, "start.log"), encoding="utf-8").read() if os.path.exists(os.path.join(pm.dir, "start.log")) else ""
        tap.check(r.returncode == 0 and "lived" in r.stdout, f"{name}: an app lives its life", f"{show(r)}\n{start}")
        if r.returncode == 0:
            with open(os.path.join(pm.dir, "describe.log"), encoding="utf-8") as f:
                text = f.read()
            tap.check("online" in text, f"{name}: it was online", text)
            if "cgroup" in name:
                tap.check("memory_max has no effect here: there is no controller 'memory'" in text, f"{name}: what has no effect is told", text)
        else:
            pm.run("kill")


def machines(tap, build):
    lacking(tap, build, "no cgroups", "mount -t tmpfs none /sys/fs/cgroup")
    lacking(tap, build, "no pressure figures, no kernel log", "mount --bind /dev/null /dev/kmsg; [ ! -d /proc/pressure ] || mount -t tmpfs none /proc/pressure")
    lacking(tap, build, "/proc with hidepid", "mount -t proc -o hidepid=invisible proc /proc; chmod 777 .",
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


# ---- files that go away, and an odd environment ----


def socket_goes(tap, build):
    with Instance(build) as pm:
        pm.run("start", "/bin/sleep", "--name", "app", "--", "1000")
        app, pmd = pm.process("app")["pid"], pmd_pid(pm)
        os.unlink(os.path.join(pm.env["PMD_HOME"], "run", "pmd.sock"))
        r = pm.run("list")
        tap.check(r.returncode == OK or r.stderr.strip(), "without its socket pmd is found again, or pmctl says what is wrong", show(r))
        tap.check(alive(app), "the app runs on")
        if r.returncode != OK:
            os.kill(pmd, signal.SIGKILL)
        wait_until(lambda: pm.run("ping").returncode == OK, "pmd")
        tap.equal(pm.process("app")["pid"], app, "and is known when pmd was started again")

        pmd = pmd_pid(pm)
        for n, names in enumerate((["processes"], ["definitions"], ["processes", "definitions"])):
            pmd = pmd_pid(pm)
            for name in names:
                os.unlink(os.path.join(pm.env["PMD_HOME"], "run", name))
            expect(tap, pm.run("restart", "app"), OK, f"without its {' and '.join(names)} pmd goes on")
            app = pm.process("app")["pid"]
            os.kill(pmd, signal.SIGKILL)
            wait_until(lambda: pm.run("ping").returncode == OK and pmd_pid(pm) != pmd, "another pmd")
            tap.equal((pm.process("app")["pid"], pm.process("app")["pm2_env"]["restart_time"]), (app, n + 1), "and writes them again")


def odd_environments(tap, build):
    with Instance(build) as pm:
        home = pm.env["PMD_HOME"]

        def shell(text, **env):
            return subprocess.run(["/bin/sh", "-c", text], env={"PMD_HOME": home, "P": pm.pmctl, **env}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=3 * PATIENCE, check=False)

        expect(tap, shell('umask 0777; ulimit -s 256; "$P" start /bin/sleep --name app -- 1000 <&- 2>&-'), OK,
               "an umask of 0777, a small stack, closed descriptors, no HOME, no PATH: an app starts")
        expect(tap, shell('"$P" list'), OK, "it is listed without TERM and locale", stdout=["app", "online"])
        tap.equal(shell('"$P" list <&- >&- 2>&-').returncode in (OK, 1), True, "list without any descriptor ends")
        expect(tap, shell('"$P" restart app >&-'), OK, "restart without standard output")
        for size in ((1, 1), (2, 500), (500, 2)):
            tap.equal(on_terminal([pm.pmctl, "list"], pm.env, size), OK, f"list on a terminal of {size[0]} lines and {size[1]} columns")
        tap.equal(on_terminal([pm.pmctl, "describe", "app"], dict(pm.env, TERM="dumb"), (1, 1)), OK, "describe on a dumb one")
        tap.equal(on_terminal([pm.pmctl, "list"], dict(pm.env, TERM="no such terminal"), (0, 0)), OK, "list on one without a name and a size")
        path = os.path.join(home, "logs", "app-out.log")
        tap.check(not os.path.exists(path) or os.stat(path).st_mode & 0o600 == 0o600, "the umask is not that of log files")
        expect(tap, pm.run("stop", "app"), OK, "and it can be stopped")


def on_terminal(command, env, size):
    """Exit status of a command on a terminal of so many lines and columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(command, env=env, stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    while True:
        try:
            if not os.read(leader, 65536):
                break
        except OSError:
            break
    os.close(leader)
    return process.wait(PATIENCE)


def main():
    tap = Tap()
    build = os.path.abspath(sys.argv[1])
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 120
    for part, *args in ((disks,), (descriptors,), (memory, n), (machines,), (socket_goes,), (odd_environments,)):
        try:
            part(tap, build, *args)
        except Exception as e:  # the others may still tell something
            tap.check(False, part.__name__, repr(e))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
