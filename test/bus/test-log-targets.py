#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Targets that stall, fill up or go away, large lines and many of them, against a private pmd of its own. Argument: the build directory."""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import time

from logtest import Instance
from pmdtest import PATIENCE, Tap, wait_until

# "line N" padded to 100 bytes, as fast as they are taken
COUNTER = """#!/usr/bin/env python3
import os, sys
first, last = int(sys.argv[1]), int(sys.argv[2])
for k in range(first, last, 500):
    data = b"".join(b"line %-93d.\\n" % i for i in range(k, min(k + 500, last)))
    while data:
        data = data[os.write(1, data):]
sys.stdout.flush()
import time
time.sleep(1000)
"""

BYTES = """#!/usr/bin/env python3
import hashlib, os, random, sys, time
kind, size = sys.argv[1], int(sys.argv[2])
r = random.Random(size)
done = 0
while done < size:
    block = r.randbytes(65536)[:size - done] if kind == "binary" else b"x" * min(65536, size - done)
    if kind == "binary":
        block = block.replace(b"\\n", b"\\0")
    done += len(block)
    while block:
        block = block[os.write(1, block):]
os.write(1, b"\\nend\\n")
time.sleep(1000)
"""

QUICK = PATIENCE / 2 # much for a call that waits for nothing


def numbers(text):
    return [int(n) for n in re.findall(rb"^line (\d+) +\.$", text, re.M)]


def content(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return b""


def check_answers(tap, pm, what):
    """The bus, supervision and other apps are as always."""
    times = []
    for args in (["list"], ["start", pm.script("other", "#!/bin/sh\necho hello\nexec sleep 1000\n"), "--name", "other"],
                 ["restart", "other"], ["delete", "other"]):
        start = time.monotonic()
        r = pm.run(*args)
        times.append(time.monotonic() - start)
        if r.returncode != 0:
            tap.check(False, what, r.stderr)
            return
    tap.check(max(times) < QUICK, what, times)
    lines = content(os.path.join(pm.logs, "other-out.log"))
    tap.equal(lines, b"hello\n" * 2, what + ", and other apps write their lines")
    os.unlink(os.path.join(pm.logs, "other-out.log"))


def is_blocked(pm, name):
    """The app waits in its write."""
    pid = pm.run("pid", name).stdout.strip()
    with open(f"/proc/{pid}/wchan", encoding="ascii") as f:
        return "pipe_write" in f.read()


def check_stopped_reader(tap, pm):
    fifo, copy = os.path.join(pm.dir, "fifo"), os.path.join(pm.dir, "copy")
    os.mkfifo(fifo, 0o600)
    with open(copy, "wb") as out:
        reader = subprocess.Popen(["cat", fifo], stdout=out)
    keep = os.open(fifo, os.O_RDWR) # so that cat sees no end
    try:
        reader.send_signal(signal.SIGSTOP)
        pm.run("start", pm.script("count", COUNTER), "--name", "stalled", "--output", fifo, "--", "0", "40000")
        wait_until(lambda: is_blocked(pm, "stalled"), "the app to wait for the reader")
        check_answers(tap, pm, "a reader that is stopped stalls nobody else")
        tap.equal(pm.dropped("stalled"), 0, "an app with files waits, nothing is dropped")
        reader.send_signal(signal.SIGCONT)
        wait_until(lambda: len(content(copy)) >= 40000 * 100, "all lines")
        tap.equal(numbers(content(copy)), list(range(40000)), "every line is there once the reader goes on")
        pm.run("delete", "stalled")
    finally:
        reader.kill()
        reader.wait()
        os.close(keep)


def check_drop(tap, pm):
    """log_overflow drop: what is missing is what the marks say."""
    fifo, copy = os.path.join(pm.dir, "fifo2"), os.path.join(pm.dir, "copy2")
    os.mkfifo(fifo, 0o600)
    with open(copy, "wb") as out:
        reader = subprocess.Popen(["cat", fifo], stdout=out)
    keep = os.open(fifo, os.O_RDWR)
    try:
        reader.send_signal(signal.SIGSTOP)
        pm.run("start", pm.script("count", COUNTER), "--name", "drops", "--output", fifo, "--log-overflow", "drop", "--", "0", "100000")
        wait_until(lambda: pm.dropped("drops") > 0, "lines to be dropped")
        check_answers(tap, pm, "an app that drops stalls nobody")
        reader.send_signal(signal.SIGCONT)
        wait_until(lambda: b"line 99999 " in content(copy), "the last line")
        text = content(copy)
        marked = sum(int(n) for n in re.findall(rb"^\[pmd\] (\d+) lines were dropped here$", text, re.M))
        found = numbers(text)
        tap.equal(len(found) + marked, 100000, "lines and marks together are all")
        tap.equal(pm.dropped("drops"), marked, "the property tells the same")
        tap.check(found == sorted(set(found)), "what is there is in order, and once")
        pm.run("delete", "drops")
    finally:
        reader.kill()
        reader.wait()
        os.close(keep)


def check_full_disk(tap, pm):
    mount = os.path.join(pm.dir, "small")
    os.mkdir(mount)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", mount], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        tap.check(True, "a full disk # SKIP no right to mount")
        return
    out = os.path.join(mount, "out.log")
    try:
        pm.run("start", pm.script("count", COUNTER), "--name", "full", "--output", out, "--log-max-size", "0", "--", "0", "40000")
        wait_until(lambda: is_blocked(pm, "full") and os.statvfs(mount).f_bavail == 0, "the disk to be full")
        check_answers(tap, pm, "a full disk stalls nobody else")
        tap.check("online" in pm.run("list").stdout, "its app lives")
        note = "its log takes no lines of it: No space left on device; they are kept, but when there are too many the app has to wait"
        wait_until(lambda: note in pm.run("why", "full").stdout, "why to tell what it waits for")
        tap.check(note in pm.run("describe", "full").stdout, "describe tells it too")
        subprocess.run(["mount", "-o", "remount,size=64m", mount], check=True)
        wait_until(lambda: len(content(out)) >= 40000 * 100, "all lines")
        tap.equal(numbers(content(out)), list(range(40000)), "with room every line is there, whole")
        wait_until(lambda: "takes no lines" not in pm.run("why", "full").stdout, "that it is over")
        pm.run("delete", "full")
        wait_until(lambda: not_open(pm, out), "pmd to close the file")
    finally:
        subprocess.run(["umount", "-l", mount], check=False)


BOTH = """#!/bin/sh
while :; do
        echo out
        echo err >&2
        sleep 0.05
done
"""


def check_no_file_to_be(tap, pm):
    """A directory has come where a log file was, while the other log of the app takes its lines."""
    out, err = os.path.join(pm.dir, "both-out.log"), os.path.join(pm.dir, "both-err.log")
    note = "its log cannot be written, and its lines are lost: Is a directory"
    pm.run("start", pm.script("both", BOTH), "--name", "both", "--output", out, "--error", err)
    wait_until(lambda: b"out" in content(out) and b"err" in content(err), "both logs")
    os.unlink(out)
    os.mkdir(out)
    pm.run("reloadLogs")
    wait_until(lambda: note in pm.run("why", "both").stdout, "that the lines are lost")
    size = len(content(err))
    wait_until(lambda: len(content(err)) > size + 10, "more lines in the other log")
    tap.equal([note in pm.run(verb, "both").stdout for verb in ("why", "describe") for _ in range(5)], [True] * 10, "that one log cannot be written is told while the other can")
    os.rmdir(out)
    pm.run("reloadLogs")
    wait_until(lambda: b"out" in content(out), "the log")
    wait_until(lambda: note not in pm.run("why", "both").stdout, "that it is over")
    tap.check(True, "and is over when it can be")

    os.unlink(out)
    os.mkdir(out)
    pm.run("reloadLogs")
    wait_until(lambda: note in pm.run("why", "both").stdout, "that the lines are lost again")
    pm.run("restart", "both", "--output", out + ".new")
    wait_until(lambda: b"out" in content(out + ".new"), "another log")
    tap.check(note not in pm.run("why", "both").stdout, "and with a restart that gives it another log")
    pm.run("delete", "both")


def not_open(pm, path):
    pid = pm.daemon_pid()
    try:
        return path not in (os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError: # one was closed while we looked
        return False


def check_stopped_clients(tap, pm):
    pm.run("start", pm.script("count", COUNTER), "--name", "crowd", "--", "0", "20000")
    clients = [pm.follow("crowd", "--lines", "0") for _ in range(100)]
    path = os.path.join(pm.logs, "crowd-out.log")
    try:
        for c in clients:
            if "[TAILING]" not in c.stdout.readline():
                tap.check(False, "100 clients follow", c.poll())
            c.send_signal(signal.SIGSTOP)
        pm.run("restart", "crowd")
        wait_until(lambda: len(numbers(content(path))) == 40000, "all lines, although 100 clients do not read")
        tap.equal(numbers(content(path)), list(range(20000)) * 2, "100 clients that do not read, and all lines in the file")
        check_answers(tap, pm, "clients that are stopped stall nobody")
        tap.equal(sum(c.poll() is None for c in clients), 100, "they are still there")
    finally:
        for c in clients:
            c.kill()
            c.communicate()
    pm.run("delete", "crowd")


def check_large_lines(tap, pm):
    script = pm.script("bytes", BYTES)
    for kind, size in (("text", 1000000), ("binary", 1000000), ("text", 64 << 20), ("binary", 64 << 20)):
        name = f"{kind}{size}"
        out = os.path.join(pm.logs, name + "-out.log")
        before = pm.memory()
        pm.run("start", script, "--name", name, "--log-max-size", "0", "--", kind, str(size))
        wait_until(lambda path=out, n=size: os.path.exists(path) and os.stat(path).st_size >= n + 5, f"a line of {size} bytes")
        got = hashlib.sha256(content(out)).hexdigest()
        expected = hashlib.sha256(expected_bytes(kind, size) + b"\nend\n").hexdigest()
        tap.equal(got, expected, f"a line of {size} bytes, {kind}, is byte-exact")
        if not pm.is_sanitized():
            tap.check(pm.memory() - before < 4096, f"{kind} {size}: pmd does not hold it in memory", f"{before} {pm.memory()}")
        tap.check(len(pm.run("logs", name, "--raw", "--nostream", "--lines", "1").stdout) > 0, "pmctl logs can show its end")
        pm.run("delete", name)
        os.unlink(out)


def expected_bytes(kind, size):
    r = random.Random(size)
    blocks = []
    for done in range(0, size, 65536):
        n = min(65536, size - done)
        blocks.append(r.randbytes(65536)[:n].replace(b"\n", b"\0") if kind == "binary" else b"x" * n)
    return b"".join(blocks)


def check_many_rotations(tap, pm):
    """At full speed, to two files at once."""
    lines, combined = 500000, os.path.join(pm.dir, "combined.log")
    pm.run("start", pm.script("count", COUNTER), "--name", "fast", "--log", combined, "--log-max-size", "200K", "--log-retain", "10000",
           "--", "0", str(lines))
    for directory, prefix in ((pm.logs, "fast-out"), (pm.dir, "combined")):
        path = os.path.join(directory, prefix + ".log")
        wait_until(lambda p=path: f"line {lines - 1} ".encode() in content(p), "the last line")
        files = [os.path.join(directory, f) for f in os.listdir(directory) if f.startswith(prefix)]
        found, n = [], 0
        for f in files:
            text = content(f)
            n += text.count(b"\n")
            found += numbers(text)
        found.sort()
        tap.check(len(files) > 200, f"{prefix}: many rotations", len(files))
        tap.check(found == list(range(lines)) and n == lines, f"{prefix}: none of {lines} lines is lost or torn", f"{len(found)} {n}")
    pm.run("delete", "fast")


def check_last_lines(tap, pm):
    n = 300
    for how, end in (("SIGKILL", "kill -9 $$"), ("_exit", "exec python3 -SIc 'import os; os._exit(0)'")):
        runs = n if how == "SIGKILL" else n // 10
        counter = os.path.join(pm.dir, "counter-" + how)
        with open(counter, "w", encoding="ascii") as f:
            f.write("0\n")
        script = pm.script("last-" + how, f"#!/bin/sh\nread n < {counter}\necho $((n + 1)) > {counter}\n[ $n -ge {runs} ] && exec sleep 1000\n"
                                          f"echo last $n\n{end}\n")
        name = "last" + how.lower().replace("_", "")
        out = os.path.join(pm.logs, name + "-out.log")
        pm.run("start", script, "--name", name, "--max-restarts", str(n + 10), "--restart-delay", "1")
        deadline = time.monotonic() + 4 * PATIENCE
        while content(out).count(b"\n") < runs and time.monotonic() < deadline:
            time.sleep(0.05)
        tap.equal(content(out), b"".join(b"last %d\n" % i for i in range(runs)), f"the last line before {how}, {runs} times")
        pm.run("delete", name)


def check_signal(tap, pm):
    pm.run("start", pm.script("count", COUNTER), "--name", "renamed", "--", "0", "10")
    path = os.path.join(pm.logs, "renamed-out.log")
    wait_until(lambda: numbers(content(path)) == list(range(10)), "its lines")
    os.rename(path, path + ".1")
    os.kill(pm.daemon_pid(), signal.SIGUSR2)
    wait_until(lambda: os.path.exists(path), "a new file after SIGUSR2")
    pm.run("restart", "renamed")
    wait_until(lambda: numbers(content(path)) == list(range(10)), "its lines in the new file")
    tap.equal(numbers(content(path + ".1")), list(range(10)), "SIGUSR2 opens log files anew")
    pm.run("delete", "renamed")


def check_no_files(tap, pm):
    for value in ("/dev/null", "NULL"):
        pm.run("start", pm.script("say", "#!/bin/sh\necho out\necho err >&2\nexec sleep 1000\n"), "--name", "quiet", "--output", value)
        path = os.path.join(pm.logs, "quiet-error.log")
        wait_until(lambda p=path: content(p) == b"err\n", "standard error")
        tap.check(not os.path.exists(os.path.join(pm.logs, "quiet-out.log")) and not os.path.exists(os.path.join(pm.dir, "NULL")), f"{value} is no file")
        pm.run("delete", "quiet")
        os.unlink(path)


class Targets(Instance):
    def daemon_pid(self):
        return int(self.get("/org/pmd1", "org.pmd1.Manager", "PID").split()[1])

    def get(self, path, interface, name):
        socket = os.path.join(self.env["PMD_HOME"], "run", "pmd.sock")
        return subprocess.run(["busctl", "--address=unix:path=" + socket, "get-property", "org.pmd1", path, interface, name], stdout=subprocess.PIPE,
                              text=True, timeout=PATIENCE, check=True).stdout

    def dropped(self, name):
        r = self.run("id", name)
        number = re.search(r"\d+", r.stdout).group()
        return int(self.get(f"/org/pmd1/process/{number}", "org.pmd1.Process", "LogDropped").split()[1])

    def is_sanitized(self):
        with open(f"/proc/{self.daemon_pid()}/maps", encoding="utf-8") as f:
            return "libasan" in f.read()

    def memory(self):
        with open(f"/proc/{self.daemon_pid()}/status", encoding="utf-8") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


with Targets(sys.argv[1] if len(sys.argv) > 1 else "build") as instance:
    t = Tap()
    instance.run("ping")
    for check in (check_no_files, check_signal, check_many_rotations, check_stopped_reader, check_drop, check_full_disk, check_no_file_to_be,
                  check_stopped_clients, check_large_lines, check_last_lines):
        check(t, instance)
sys.exit(t.done())
