#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures pmd (a private instance, log files) beside other supervisors, each with what its own manual says to call: pm2 from npm, supervisord, s6 and
runit from Debian. Prints a table of medians with the single values below it. Nothing here is a test: no figure fails.

usage: bench-peers.py [--pm2 COMMAND] [--only NAME,…] [--megabytes N] BUILD_DIR

What is a supervisor's own is measured over all of its processes: pmd with its keeper, one s6-supervise or runsv for each app. Up means for s6 and runit
that the child was forked, for the others that it was executed. s6 and runit have a directory for each app, which is made before the time is taken.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from bench import rollup, switches, wait_for_stamps

SLEEP = [shutil.which("sleep"), "100000"]
N = 100
LINE = 100


def quote(argv):
    return " ".join("'" + a + "'" for a in argv)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, mode)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def read_of(pid, name):
    """Nothing of a process that has just ended."""
    try:
        with open(f"/proc/{pid}/{name}") as f:
            return f.read()
    except OSError:
        return ""


def comm(pid):
    return read_of(pid, "comm").strip()


class Supervisor:
    """begin() starts it, hundred() is the command that brings N processes of SLEEP up, listing() the one that tells of all, one() starts a single app that
    is started again whenever it ends, logger() one whose output goes to files below the directory that it returns."""

    def __init__(self, work, env=None):
        self.work, self.env = work, dict(os.environ, **(env or {}))
        self.daemon = None
        os.makedirs(work)

    def run(self, argv, check=True):
        return subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=check, text=True).stdout

    def seconds(self, argv):
        begin = time.monotonic()
        self.run(argv)
        return time.monotonic() - begin

    def background(self, argv):
        self.daemon = subprocess.Popen(argv, env=self.env, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       start_new_session=True)

    def prepare(self):
        pass

    def end(self):
        self.daemon.terminate()
        self.daemon.wait()


class Pmd(Supervisor):
    def __init__(self, work, build):
        super().__init__(work, {"PMD_HOME": os.path.join(work, "home"), "LANG": "C.UTF-8"})
        self.pmctl = os.path.join(build, "src/pmctl")

    def begin(self):
        self.run([self.pmctl, "ping"])

    def pids(self):
        with open(os.path.join(self.env["PMD_HOME"], "run/pmd.lock")) as f:
            pid = int(f.read())
        return [pid] + [int(p) for p in os.listdir("/proc") if p.isdigit() and comm(p) == "pmd-keeper" and self.env["PMD_HOME"] in read_of(p, "cmdline") + read_of(p, "environ")]

    def hundred(self):
        return [self.pmctl, "start", SLEEP[0], "--name", "hundred", "-x", "-i", str(N), "--", *SLEEP[1:]]

    def listing(self):
        return [self.pmctl, "list"]

    def one(self, argv):
        self.run([self.pmctl, "start", argv[0], "--name", "one", "--max-restarts", "1000000", "-x", "--", *argv[1:]])

    def logger(self, argv):
        logs = os.path.join(self.work, "logs")
        self.run([self.pmctl, "start", argv[0], "--name", "logger", "-x", "-o", os.path.join(logs, "out"), "--merge-logs", "--log-max-size", "0", "--", *argv[1:]])
        return logs

    def delete(self):
        self.run([self.pmctl, "delete", "all"])

    def end(self):
        self.run([self.pmctl, "kill"])


class Pm2(Pmd):
    def __init__(self, work, command):
        Supervisor.__init__(self, work, {"PM2_HOME": os.path.join(work, "home"), "PM2_DISABLE_VERSION_CHECK": "true", "PM2_DISCRETE_MODE": "true"})
        self.pmctl = command

    def pids(self):
        with open(os.path.join(self.env["PM2_HOME"], "pm2.pid")) as f:
            return [int(f.read())]

    def logger(self, argv):
        logs = os.path.join(self.work, "logs")
        os.makedirs(logs)
        self.run([self.pmctl, "start", argv[0], "--name", "logger", "-x", "-o", os.path.join(logs, "out"), "--merge-logs", "--", *argv[1:]])
        return logs


class Supervisord(Supervisor):
    def __init__(self, work):
        super().__init__(work)
        self.conf = os.path.join(work, "supervisord.conf")

    def prepare(self):
        self.programs = {}

    def configure(self):
        socket = os.path.join(self.work, "sock")
        text = f"[unix_http_server]\nfile={socket}\n[supervisorctl]\nserverurl=unix://{socket}\n" \
               f"[supervisord]\nlogfile={self.work}/supervisord.log\npidfile={self.work}/pid\nchildlogdir={self.work}\nminfds=4096\n" \
               "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        for name, options in self.programs.items():
            text += f"[program:{name}]\nautostart=false\nautorestart=true\nstartsecs=0\nprocess_name=%(program_name)s%(process_num)d\n{options}\n"
        write(self.conf, text)

    def begin(self):
        self.programs["hundred"] = f"command={quote(SLEEP)}\nnumprocs={N}"
        self.configure()
        self.background(["supervisord", "-n", "-c", self.conf])
        while subprocess.run(self.listing(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode not in (0, 3):
            time.sleep(0.05)

    def pids(self):
        return [self.daemon.pid]

    def ctl(self, *args):
        return ["supervisorctl", "-c", self.conf, *args]

    def hundred(self):
        return self.ctl("start", "hundred:*")

    def listing(self):
        return self.ctl("status")

    def add(self, name, options):
        self.programs[name] = options
        self.configure()
        self.run(self.ctl("reread"))
        self.run(self.ctl("add", name))
        self.run(self.ctl("start", name + ":*"))

    def one(self, argv):
        self.add("one", f"command={quote(argv)}")

    def logger(self, argv):
        logs = os.path.join(self.work, "logs")
        os.makedirs(logs)
        self.add("logger", f"command={quote(argv)}\nstdout_logfile={logs}/out\nstdout_logfile_maxbytes=0")
        return logs

    def delete(self):
        self.run(self.ctl("stop", "all"))


class Directories(Supervisor):
    """What s6 and runit have in common: a directory with a file "run" for each app."""

    def service(self, name, argv, down, log=None):
        path = os.path.join(self.work, "all", name)
        write(os.path.join(path, "run"), f"#!/bin/sh\nexec {quote(argv)}\n", 0o755)
        if down:
            write(os.path.join(path, "down"), "")
        if log:
            write(os.path.join(path, "log/run"), f"#!/bin/sh\nexec {quote(log)}\n", 0o755)
        os.symlink(path, os.path.join(self.work, "scan", name))
        return os.path.join(self.work, "scan", name)

    def prepare(self):
        os.makedirs(os.path.join(self.work, "scan"))
        self.up = []

    def supervisors(self):
        return [p for p in children(self.daemon.pid) if comm(p) in ("s6-supervise", "runsv")]

    def pids(self):
        return [self.daemon.pid, *self.supervisors()]

    def prepare_hundred(self):
        self.up = [self.service(f"n{i}", SLEEP, True) for i in range(N)]
        self.rescan()
        while len(self.supervisors()) < N or not all(self.supervised(d) for d in self.up):
            time.sleep(0.05)
        time.sleep(1)

    def wait_for(self, name, argv, log=None):
        path = self.service(name, argv, False, log)
        self.rescan()
        while not self.supervised(path):
            time.sleep(0.05)
        self.up.append(path)


class S6(Directories):
    def begin(self):
        self.background(["s6-svscan", os.path.join(self.work, "scan")])
        time.sleep(1)

    def rescan(self):
        self.run(["s6-svscanctl", "-a", os.path.join(self.work, "scan")])

    def supervised(self, path):
        return subprocess.run(["s6-svok", path]).returncode == 0

    def hundred(self):
        return ["sh", "-c", 'for d; do s6-svc -u "$d"; done; exec s6-svwait -a -u "$@"', "sh", *self.up]

    def listing(self):
        return ["sh", "-c", 'for d; do s6-svstat "$d"; done', "sh", *self.up]

    def one(self, argv):
        self.wait_for("one", argv)

    def logger(self, argv):
        logs = os.path.join(self.work, "logs")
        self.wait_for("logger", argv, ["s6-log", "n1000", "s100000000", logs])
        return logs

    def delete(self):
        self.run(["sh", "-c", 'for d; do s6-svc -dk "$d"; done; exec s6-svwait -a -D "$@"', "sh", *self.up])

    def end(self):
        self.run(["s6-svscanctl", "-t", os.path.join(self.work, "scan")])
        self.daemon.wait()


class Runit(Directories):
    def begin(self):
        self.background(["runsvdir", os.path.join(self.work, "scan")])
        time.sleep(1)

    def rescan(self):
        pass  # it looks every five seconds

    def supervised(self, path):
        return subprocess.run(["sv", "status", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def hundred(self):
        return ["sv", "-w", "60", "start", *self.up]

    def listing(self):
        return ["sv", "status", *self.up]

    def one(self, argv):
        self.wait_for("one", argv)

    def logger(self, argv):
        logs = os.path.join(self.work, "logs")
        write(os.path.join(logs, "config"), "s0\n")
        self.wait_for("logger", argv, ["svlogd", logs])
        return logs

    def delete(self):
        self.run(["sv", "-w", "60", "force-stop", *self.up])

    def end(self):
        self.daemon.send_signal(1)  # SIGHUP: with all of its runsv
        self.daemon.wait()


def crash_to_main(m, stamp, n):
    """Each lives for more than a second first, so that no supervisor takes it for a crash loop."""
    log, times = os.path.join(m.work, "stamps"), []
    m.one([stamp, log])
    for _ in range(n):
        before = len(wait_for_stamps(log, 1))
        time.sleep(1.3)
        pid = int(subprocess.run(["pgrep", "-f", f"^{stamp} {log}$"], stdout=subprocess.PIPE, text=True, check=True).stdout)
        killed = time.monotonic_ns()
        os.kill(pid, 9)
        times.append((wait_for_stamps(log, before + 1)[before] - killed) / 1e6)
    return times


def size_below(path):
    total = 0
    for name in os.listdir(path) if os.path.isdir(path) else ():
        try:
            total += os.stat(os.path.join(path, name)).st_size
        except FileNotFoundError:
            pass  # renamed meanwhile
    return total


def log_rate(m, prepared, expected):
    """MB/s of one writer, from its start to the last byte in the files."""
    go = os.path.join(m.work, "go")
    logs = m.logger(["/bin/sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done; cat {prepared}; exec sleep 100000"])
    time.sleep(1)
    begin = time.monotonic()
    write(go, "")
    while size_below(logs) < expected:
        time.sleep(0.01)
    rate = expected / (time.monotonic() - begin) / 1e6
    shutil.rmtree(logs, ignore_errors=True)
    return rate


def measure(m, stamp, prepared, expected):
    """Name of the figure, and what was measured."""
    m.prepare()
    m.begin()
    time.sleep(1)
    yield "memory, no app: Pss (MB)", [sum(rollup(p, "Pss") for p in m.pids())]
    if isinstance(m, Directories):
        m.prepare_hundred()
    starts = [m.seconds(m.hundred())]
    for _ in range(4):
        m.delete()
        time.sleep(2)
        starts.append(m.seconds(m.hundred()))
    yield f"start {N} × sleep (s)", starts
    time.sleep(1)
    yield f"memory, {N} apps: Pss (MB)", [sum(rollup(p, "Pss") for p in m.pids())]
    yield f"memory of its own, {N} apps: Private (MB)", [sum(rollup(p, "Private_Clean") + rollup(p, "Private_Dirty") for p in m.pids())]
    yield f"list of {N} apps (ms)", [m.seconds(m.listing()) * 1000 for _ in range(15)]
    time.sleep(1)
    before = sum(switches(p) for p in m.pids())
    time.sleep(10)
    yield f"context switches in 10 s, {N} apps at rest", [sum(switches(p) for p in m.pids()) - before]
    m.delete()
    yield "kill -9 to the next main() (ms)", crash_to_main(m, stamp, 15)
    m.delete()
    yield "log of one writer (MB/s)", [log_rate(m, prepared, expected)]
    m.delete()
    m.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pm2")
    parser.add_argument("--only", default="")
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("build")
    args = parser.parse_args()

    work = tempfile.mkdtemp(prefix="bench-peers-")
    prepared = os.path.join(work, "lines")
    with open(prepared, "wb") as f:
        for _ in range(args.megabytes):
            f.write((b"x" * (LINE - 1) + b"\n") * (1000000 // LINE))

    build = os.path.abspath(args.build)
    makers = {"pmd": lambda d: Pmd(d, build), "pm2": lambda d: Pm2(d, args.pm2), "supervisord": Supervisord, "s6": S6, "runit": Runit}
    figures = {}
    names = [n for n in makers if (not args.only or n in args.only.split(",")) and (n != "pm2" or args.pm2)]
    for name in names:
        for figure, values in measure(makers[name](os.path.join(work, name)), os.path.join(build, "test/stamp"), prepared, args.megabytes * 1000000):
            figures.setdefault(figure, {})[name] = values
            print(name, figure, " ".join(f"{v:.3g}" for v in values), file=sys.stderr, flush=True)

    print("| figure | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
    for figure, by_name in figures.items():
        print(f"| {figure} | " + " | ".join(f"{statistics.median(by_name[n]):.3g}" for n in names) + " |")
    print("\nSingle values:\n")
    for figure, by_name in figures.items():
        for n in names:
            if len(by_name[n]) > 1:
                print(f"- {figure}, {n}: " + ", ".join(f"{v:.3g}" for v in by_name[n]))
    shutil.rmtree(work, ignore_errors=True)


main()
