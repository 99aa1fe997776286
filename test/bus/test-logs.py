#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Log files and pmctl logs against a private pmd of its own. Argument: the build directory."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from pmdtest import PATIENCE, Tap, wait_until

SAYER = "#!/bin/sh\nfor i in 1 2 3; do echo out $i; echo err $i >&2; done\nprintf '<4>careful\\n' >&2\nexec sleep 1000\n"
COUNTER = "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do echo \"line $i of many\"; i=$((i + 1)); done\nexec sleep 1000\n"


class Instance:
    def __init__(self, build):
        self.dir = tempfile.mkdtemp(prefix="pmd-logs-")
        self.pmctl = os.path.abspath(os.path.join(build, "src", "pmctl"))
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "PMD_HOME": os.path.join(self.dir, "home"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.logs = os.path.join(self.dir, "home", "logs")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.run("kill")
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *args):
        return subprocess.run([self.pmctl, *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=3 * PATIENCE, check=False)

    def lines(self, *args):
        return self.run("logs", *args, "--nostream", "--raw").stdout.splitlines()

    def follow(self, *args):
        return subprocess.Popen([self.pmctl, "logs", *args], env=self.env, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def script(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)
        return path

    def read(self, path):
        try:
            with open(path, encoding="utf-8") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def start(self, script, name, *options, until="out 3\n", file=None):
        r = self.run("start", script, "--name", name, *options)
        wait_until(lambda: until in self.read(file or os.path.join(self.logs, name + "-out.log")), f"{name} to write: {r.stderr}")


def check_views(tap, pm):
    pm.start(pm.script("say", SAYER), "say")
    tap.equal(pm.lines("say", "--out"), ["out 1", "out 2", "out 3"], "--out")
    tap.equal(pm.run("logs", "say", "--err", "--raw", "--nostream", "--lines", "2").stderr.splitlines(), ["err 3", "<4>careful"], "--err --lines 2")
    tap.equal(pm.lines("say", "-g", "OUT"), [], "-g with capitals minds the case")
    tap.equal(pm.lines("say", "--out", "-g", "^out [12]$", "-n", "1"), ["out 2"], "-g counts lines that match")
    tap.equal(pm.lines("say", "-p", "err"), [], "-p: standard output is not that important")
    r = pm.run("logs", "say", "--out", "--nostream", "--format", "--lines", "1")
    tap.equal(r.stdout, "app=say id=0 type=out message=out 3\n", "--format")
    o = json.loads(pm.run("logs", "say", "--out", "--nostream", "--json", "--lines", "1").stdout)
    tap.equal((o["message"], o["type"], o["process_id"], o["app_name"]), ("out 3\n", "out", 0, "say"), "--json")
    tap.equal(pm.run("logs", "say", "--since", "once").returncode, 2, "--since that is no time")
    tap.equal(pm.run("logs", "say", "-g", "(").returncode, 2, "-g that is no expression")
    tap.equal(pm.run("logs", "say", "-p", "loud").returncode, 2, "-p that is no level")
    tap.equal(os.stat(os.path.join(pm.logs, "say-out.log")).st_mode & 0o7777, 0o640, "files have mode 0640")


def check_forms(tap, pm):
    script = os.path.join(pm.dir, "say")
    pm.start(script, "dated", "--time")
    text = pm.read(os.path.join(pm.logs, "dated-out.log"))
    tap.check(re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d: out \d\n){3}", text), "time", text)
    tap.equal(len(pm.lines("dated", "--out", "--since", "-1h")), 3, "--since finds lines with dates")
    tap.equal(pm.lines("dated", "--out", "--until", "-1h"), [], "--until")

    pm.start(script, "own", "--log-date-format", "[x] YY", until="out 3")
    tap.check(re.fullmatch(r"(x \d\d: out \d\n){3}", pm.read(os.path.join(pm.logs, "own-out.log"))), "log_date_format")

    pm.start(script, "js", "--log-type", "json", until="out 3")
    objects = [json.loads(line) for line in pm.read(os.path.join(pm.logs, "js-error.log")).splitlines()]
    tap.equal([(o["message"], o["type"], o["app_name"]) for o in objects][:1], [("err 1\n", "err", "js")], "log_type json")
    tap.equal(pm.run("start", script, "--name", "bad", "--log-type", "yaml").returncode != 0, True, "a log_type that there is not")

    both = os.path.join(pm.dir, "deep", "er", "both.log")
    pm.start(script, "both", "--log", both, file=both)
    wait_until(lambda: "careful" in pm.read(both), "the combined file")
    tap.equal(sorted(pm.read(both).splitlines()), sorted(["out 1", "out 2", "out 3", "err 1", "err 2", "err 3", "<4>careful"]), "log_file has both")


def numbers(pm, name):
    text = "".join(pm.read(p) for p in glob.glob(os.path.join(pm.logs, name + "-out*.log")))
    return sorted(int(n) for n in re.findall(r"^line (\d+) of many$", text, re.M)), text.count("\n")


def check_rotation(tap, pm):
    script = pm.script("count", COUNTER)
    pm.start(script, "many", "--log-max-size", "10K", "--log-retain", "1000", until="line 19999 of many\n")
    found, n = numbers(pm, "many")
    tap.check(found == list(range(20000)) and n == 20000, "no line is lost or torn by rotation", f"{len(found)} {n}")
    tap.check(len(glob.glob(os.path.join(pm.logs, "many-out__*.log"))) > 30, "there was much to rotate")
    tap.check(all(os.stat(p).st_size <= 10240 for p in glob.glob(os.path.join(pm.logs, "many-out*.log"))), "files are as small as was asked for")

    pm.start(script, "few", "--log-max-size", "10K", "--log-retain", "2", until="line 19999 of many\n")
    wait_until(lambda: len(glob.glob(os.path.join(pm.logs, "few-out__*.log"))) <= 2, "old files to be removed")
    tap.check(True, "old files are removed")
    tap.equal(pm.run("start", script, "--name", "cron", "--log-rotate-interval", "61 * * * *").returncode != 0, True, "an interval that is no cron expression")


def check_follow(tap, pm):
    ticker = pm.script("tick", "#!/bin/sh\ni=0\nwhile :; do echo tick $i; i=$((i + 1)); sleep 0.02; done\n")
    pm.start(ticker, "tick", "--log-max-size", "300", "--log-retain", "1", until="tick")
    f = pm.follow("tick", "--raw", "--lines", "0")
    seen = [int(f.stdout.readline().split()[1]) for _ in range(100)]
    tap.equal(seen, list(range(seen[0], seen[0] + 100)), "following goes through rotations")

    pm.run("restart", "tick")
    got = None
    for line in f.stdout:
        got = int(line.split()[1])
        if got == 0:
            break
    tap.equal(got, 0, "and through a restart")
    f.send_signal(signal.SIGINT)
    f.communicate()

    path = os.path.join(pm.logs, "tick-out.log")
    pm.start(ticker, "moved", until="tick")
    path = os.path.join(pm.logs, "moved-out.log")
    os.rename(path, path + ".1")
    pm.run("reloadLogs")
    wait_until(lambda: "tick" in pm.read(path), "a new file after reloadLogs")
    os.unlink(path)
    wait_until(lambda: "tick" in pm.read(path), "a new file after it was removed")
    tap.check(True, "files that go away are made anew")
    pm.run("delete", "tick", "moved")


def check_flush(tap, pm):
    r = pm.run("flush", "say")
    wait_until(lambda: pm.read(os.path.join(pm.logs, "say-out.log")) == "", f"an empty file: {r.stderr}")
    tap.equal(pm.lines("say"), [], "flush empties files")
    tap.equal(pm.run("flush", "nosuchapp").returncode, 5, "flush of what there is not")
    tap.check(pm.read(os.path.join(pm.logs, "dated-out.log")) != "", "and of no other app")
    pm.run("flush")
    wait_until(lambda: pm.read(os.path.join(pm.logs, "dated-out.log")) == "", "all files to be empty")
    tap.check(True, "flush without operand is for all")


def check_dead(tap, pm):
    pm.run("restart", "say")
    wait_until(lambda: pm.read(os.path.join(pm.logs, "say-out.log")).count("out 3") > 0, "say")
    pm.run("kill")
    tap.equal(pm.lines("say", "--out"), ["out 1", "out 2", "out 3"], "pmctl logs without pmd")


with Instance(sys.argv[1] if len(sys.argv) > 1 else "build") as instance:
    t = Tap()
    for check in (check_views, check_forms, check_rotation, check_follow, check_flush, check_dead):
        check(t, instance)
sys.exit(t.done())
