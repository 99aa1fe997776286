#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes that do not end as they should, that talk too much, or whose numbers come again. Argument: the build directory, and how many
processes pass by while numbers are short (default: 6000)."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time

from pmctltest import OK, Instance, expect
from pmdtest import Tap, wait_until

PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

STUBBORN = """#!/bin/bash
trap '' INT TERM HUP
echo ready
while :; do sleep 0.1; done
"""

FORTHCOMING = """#!/usr/bin/python3
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.send(b"READY=1")
while not os.path.exists("go"):
    time.sleep(0.05)
"""

FLOOD = FORTHCOMING + """
end = time.monotonic() + 2
n = 0
while time.monotonic() < end:
    n += 1
    s.send(b"STATUS=%d" % n)
    if n % 10 == 0:
        time.sleep(0.001)
open("sent", "w").write(str(n))
time.sleep(1.5)
s.send(b"STATUS=the last one")
time.sleep(1000)
"""

LARGE = FORTHCOMING + """
SO_SNDBUFFORCE = 32
try:
    s.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
except PermissionError:
    pass
size = 1 << 20
while True:
    try:
        s.send(b"STATUS=" + b"x" * size)
        break
    except OSError:
        size //= 2
r, w = os.pipe()
for i in range(2000):
    socket.send_fds(s, [b"FDSTORE=1\\nFDNAME=storm"], [w] * 16)
open("sent", "w").write(str(size))
time.sleep(1.5)
s.send(b"STATUS=behind it")
time.sleep(1000)
"""


def last_exit(pm, name):
    return json.loads(pm.run("describe", name, "--json").stdout)["processes"][0]["last_exit"]


def pmd_pid(pm):
    with open(os.path.join(pm.env["PMD_HOME"], "run", "pmd.lock"), encoding="utf-8") as f:
        return int(f.read())


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def state_of(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


class Tracer(threading.Thread):
    """Has a process stopped as a debugger does, all from one thread."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.held, self.let_go = pid, threading.Event(), threading.Event()
        self.failed = None

    def run(self):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        if libc.ptrace(PTRACE_SEIZE, self.pid, None, None) < 0 or libc.ptrace(PTRACE_INTERRUPT, self.pid, None, None) < 0:
            self.failed = os.strerror(ctypes.get_errno())
        else:
            os.waitpid(self.pid, WALL)
        self.held.set()
        self.let_go.wait()
        if not self.failed:
            try:
                os.waitpid(self.pid, WALL)
            except ChildProcessError:
                pass


def timed(function, *args):
    begin = time.monotonic()
    return function(*args), time.monotonic() - begin


def stop_stubborn(tap, pm):
    """Each is ended, the reason is true, and who ends at once does not wait for them."""
    pm.write("stubborn.sh", STUBBORN)
    for name in ("ignores", "stopped", "quick"):
        pm.run("start", "stubborn.sh" if name != "quick" else "/bin/sleep", "--name", name, "--kill-timeout", "1500",
               *(("--", "1000") if name == "quick" else ()))
    pids = {name: pm.process(name)["pid"] for name in ("ignores", "stopped")}
    wait_until(lambda: all("ready" in pm.run("logs", n, "--nostream", "--raw").stdout for n in pids), "the traps")
    os.kill(pids["stopped"], signal.SIGSTOP)
    wait_until(lambda: state_of(pids["stopped"]) == "T", "the stop")

    results = {}

    def stop(name):
        results[name] = timed(pm.run, "stop", name)

    threads = [threading.Thread(target=stop, args=(name,)) for name in ("ignores", "stopped")]
    for t in threads:
        t.start()
    wait_until(lambda: pm.status("ignores") == ["stopping"] and pm.status("stopped") == ["stopping"], "both to be ending")
    quick, took = timed(pm.run, "stop", "quick")
    still = pm.status("ignores"), pm.status("stopped")
    for t in threads:
        t.join()
    expect(tap, quick, OK, "an app that ends at once is stopped")
    tap.check(still == (["stopping"], ["stopping"]) or took < 1, "before the others are", f"{took} s, {still}")
    for name, (r, seconds) in results.items():
        expect(tap, r, OK, f"one that {name} is as well" if name == "ignores" else "and one that SIGSTOP has stopped")
        tap.check(seconds >= 1.4, "not before its kill_timeout", seconds)
        tap.equal(last_exit(pm, name), {"code": -1, "signal": 9, "reason": "kill-timeout"}, "and that is the reason")
        tap.equal(state_of(pids[name]), None, "nothing of it is left")
    pm.run("delete", "all")


def stop_traced(tap, pm):
    """A debugger is told first, and pmd learns of the end when the debugger lets go."""
    pm.run("start", "/bin/sleep", "--name", "traced", "--kill-timeout", "300", "--", "1000")
    pid = pm.process("traced")["pid"]
    tracer = Tracer(pid)
    tracer.start()
    tracer.held.wait()
    if tracer.failed:
        tap.check(True, f"a traced app # SKIP {tracer.failed}")
        tracer.let_go.set()
    else:
        r, took = timed(pm.run, "stop", "traced")
        tap.check(took < 10, "stop of a traced app comes back", took)
        tap.check(r.returncode == OK or "cannot be" in r.stderr + r.stdout or "still" in r.stderr + r.stdout, "and says what is", f"{r.stdout}{r.stderr}")
        tap.check(pm.run("ping").returncode == OK, "pmd answers")
        tracer.let_go.set()
        wait_until(lambda: pm.status("traced") == ["stopped"], "the end of the app")
        tap.equal(last_exit(pm, "traced")["signal"], 9, "when the debugger lets go it is stopped")
    tracer.join()
    pm.run("delete", "all")


def leader_dies(tap, pm):
    pm.write("leader.sh", "#!/bin/sh\nsetsid sleep 987 </dev/null >/dev/null 2>&1 &\necho $! > child\nsleep 0.2\nexit 3\n")
    pm.run("start", "leader.sh", "--name", "leader", "--no-autorestart")
    wait_until(lambda: pm.status("leader") == ["stopped"], "the end")
    with open(os.path.join(pm.dir, "child"), encoding="utf-8") as f:
        child = int(f.read())
    tap.equal(last_exit(pm, "leader"), {"code": 3, "signal": 0, "reason": "exited"}, "an app whose main process has ended has ended")
    wait_until(lambda: state_of(child) in (None, "Z"), "the end of the child")
    tap.check(True, "and its child, which would have lived on, with it")
    pm.run("delete", "all")


def crashes(tap, pm):
    """Whether there was a core dump is what the kernel says."""
    for name, limit in (("core-off", "0"), ("core-on", "unlimited")):
        os.makedirs(os.path.join(pm.dir, name))
        script = pm.write(name + ".sh", f"#!/bin/sh\nulimit -c {limit}\nexec /usr/bin/python3 -c 'import os; os.kill(os.getpid(), 11)'\n")
        here = subprocess.Popen([script], cwd=os.path.join(pm.dir, name), stderr=subprocess.DEVNULL)
        si = os.waitid(os.P_PID, here.pid, os.WEXITED | os.WNOWAIT)
        here.wait()
        pm.run("start", script, "--name", name, "--cwd", os.path.join(pm.dir, name), "--no-autorestart")
        wait_until(lambda: pm.status(name) == ["stopped"], "the crash")
        dumped = si.si_code == os.CLD_DUMPED
        tap.equal(last_exit(pm, name), {"code": -1, "signal": 11, "reason": "core-dump" if dumped else "signal"},
                  f"a crash with a core limit of {limit}: there was {'a' if dumped else 'no'} core dump")
        said = pm.run("why", name).stdout
        tap.check("SIGSEGV" in said and ("dumped core" in said) == dumped, "and why says so", said)
    pm.run("delete", "all")


def start_talker(pm, name, text):
    directory = os.path.join(pm.dir, name)
    os.makedirs(directory)
    script = pm.write(os.path.join(name, "app.py"), text)
    r = pm.run("start", script, "--name", name, "--cwd", directory, "--notify", "--listen-timeout", "1h")
    if r.returncode != OK:
        raise RuntimeError(r.stderr)
    return directory


def status_text(pm, name):
    return next((line.split("│")[2].strip() for line in pm.run("describe", name).stdout.splitlines() if "status text" in line), "")


def floods_status(tap, pm):
    """It sends as fast as it can; how many messages pmd reads in a second is limited, and the sender waits."""
    directory = start_talker(pm, "flood", FLOOD)
    pid = pmd_pid(pm)
    cpu, begin = cpu_seconds(pid), time.monotonic()
    pm.write(os.path.join("flood", "go"), "")
    calls = []
    while not os.path.exists(os.path.join(directory, "sent")) and time.monotonic() < begin + 30:
        calls.append(pm.run("ping").returncode)
        time.sleep(0.1)
    wait_until(lambda: status_text(pm, "flood") == "the last one", "the last message")
    took, used = time.monotonic() - begin, cpu_seconds(pid) - cpu
    with open(os.path.join(directory, "sent"), encoding="utf-8") as f:
        sent = int(f.read())
    tap.check(calls and not any(calls), "while an app floods pmd with its status, pmd answers", calls)
    tap.check(True, f"the last one is shown ({sent} messages before it)")
    tap.check(used < 0.05 * took + 0.5 or used < 200e-6 * sent, "and it costs little", f"{used} s of CPU in {took} s for {sent} messages")
    pm.run("delete", "all")


def sends_much(tap, pm):
    directory = start_talker(pm, "large", LARGE)
    pid = pmd_pid(pm)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    pm.write(os.path.join("large", "go"), "")
    wait_until(lambda: os.path.exists(os.path.join(directory, "sent")), "the messages")
    wait_until(lambda: status_text(pm, "large") == "behind it", "the last message")
    with open(os.path.join(directory, "sent"), encoding="utf-8") as f:
        size = int(f.read())
    tap.check(size >= 1 << 17, f"a message of {size >> 10} KiB is survived, and what comes behind it is read")
    wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before + 2, "the descriptors to be closed")
    tap.check(True, "32000 descriptors that came along are closed")
    tap.equal(pmd_pid(pm), pid, "it is the same pmd")
    pm.run("delete", "all")


# ---- numbers that come again ----

BYSTANDER = """
import os, signal, sys
def note(signo, frame):
    os.write(1, b"%d\\n" % signo)
for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
    signal.signal(s, note)
while True:
    signal.pause()
"""

# So many at a time come and go that the numbers of an app's processes are soon another's.
PASSERS_BY = """
import os, sys
for i in range(int(sys.argv[1]) // 8):
    pids = []
    for j in range(8):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
"""


def numbers_come_again(tap, build, n):
    with open("/proc/sys/kernel/pid_max", "w", encoding="utf-8") as f:
        f.write("400")
    with Instance(build) as pm, open(os.path.join(pm.dir, "told"), "w+b") as told:
        script = pm.write("short.sh", "#!/bin/sh\nsleep 0.05 &\nexit 1\n")
        pm.run("start", "/bin/sleep", "--name", "steady", "--", "1000")
        pm.run("start", script, "--name", "crasher", "--max-restarts", "1000000")
        bystanders = [subprocess.Popen([sys.executable, "-S", "-c", BYSTANDER], stdout=told) for _ in range(20)]
        passers = subprocess.Popen([sys.executable, "-S", "-c", PASSERS_BY, str(n)])
        done = 0
        while passers.poll() is None:
            pm.run("restart", "steady")
            pm.run("stop", "steady")
            pm.run("start", "steady")
            done += 3
        gone = [b.pid for b in bystanders if b.poll() is not None]
        told.seek(0)
        tap.equal(passers.returncode, 0, f"{n} processes pass by while the numbers are 400, and pmd does {done} things")
        tap.equal((told.read(), gone), (b"", []), "no signal goes to a stranger")
        tap.equal(pm.status("steady"), ["online"], "the app is up")
        tap.check(pm.process("crasher")["pm2_env"]["restart_time"] > 3, "another was restarted all the time")
        for b in bystanders:
            b.kill()
            b.wait()


def numbers_come_again_apart(tap, n):
    """The number of pids is a matter of the pid namespace since Linux 6.14."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, __file__, sys.argv[1], str(n), "inside"]
    probe = subprocess.run([*command[:5], "sh", "-c", "echo 400 > /proc/sys/kernel/pid_max"], capture_output=True, check=False)
    with open("/proc/sys/kernel/pid_max", encoding="utf-8") as f:
        if int(f.read()) == 400:
            with open("/proc/sys/kernel/pid_max", "w", encoding="utf-8") as g:
                g.write("32768")
            probe.returncode = 1
    if probe.returncode != 0:
        tap.check(True, "numbers that come again # SKIP needs root and pid_max of a namespace's own")
        return
    r = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    for line in r.stdout.splitlines():
        if line.startswith(("ok ", "not ok ")):
            tap.check(line.startswith("ok "), line.split(" - ", 1)[1], r.stdout + r.stderr)
    tap.equal(r.returncode, 0, "numbers that come again: it came to its end")


def main():
    tap = Tap()
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 6000
    if sys.argv[3:] == ["inside"]:
        numbers_come_again(tap, sys.argv[1], n)
        return tap.done()
    with Instance(sys.argv[1]) as pm:
        for check in (stop_stubborn, stop_traced, leader_dies, crashes, floods_status, sends_much):
            try:
                check(tap, pm)
            except Exception as e:  # the others may still tell something
                tap.check(False, check.__name__, repr(e))
                pm.run("delete", "all")
    numbers_come_again_apart(tap, n)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
