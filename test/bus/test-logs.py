#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Log files and pmctl logs against a private pmd of its own. Argument: the build directory."""

import glob
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

from logtest import Instance
from pmdtest import PATIENCE, Tap, wait_until

SAYER = "#!/bin/sh\nfor i in 1 2 3; do echo out $i; echo err $i >&2; done\nprintf '<4>careful\\n' >&2\nexec sleep 1000\n"
COUNTER = "#!/bin/sh\ni=0\nwhile [ $i -lt 20000 ]; do echo \"line $i of many\"; i=$((i + 1)); done\nexec sleep 1000\n"


def check_views(tap, pm):
    pm.start(pm.script("say", SAYER), "say")
    tap.equal(pm.lines("say", "--out"), ["out 1", "out 2", "out 3"], "--out")
    tap.equal(pm.run("logs", "say", "--err", "--raw", "--nostream", "--lines", "2").stderr.splitlines(), ["err 3", "<4>careful"], "--err --lines 2")
    tap.equal(pm.lines("say", "-g", "OUT"), [], "-g with capitals minds the case")
    tap.equal(pm.lines("say", "--out", "-g", "^out [12]$", "-n", "1"), ["out 2"], "-g counts lines that match")
    tap.equal(pm.lines("say", "-p", "err"), [], "-p: standard output is not that important")
    r = pm.run("logs", "say", "--out", "--nostream", "--format", "--lines", "1")
    tap.equal(r.stdout, "app=say id=0 type=out message=out 3\n", "--format")
    r = pm.run("logs", "say", "--err", "--nostream", "--format", "--lines", "1")
    tap.equal(r.stdout, "app=say id=0 type=error message=<4>careful\n", "--format of what is on standard error, with pm2's word for it")
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


NOTER = "#!/bin/sh\nsleep ${2:-0}\nfor i in 1 2 3; do echo $1 $i; done\nexec sleep 1000\n"


class Follower:
    """pmctl logs and what it has printed."""

    def __init__(self, pm, *args):
        self.process = pm.follow(*args)
        self.text = ""
        wait_until(lambda: self.read() and "[TAILING]" in self.text, "logs to follow")

    def read(self):
        while select.select([self.process.stdout], [], [], 0)[0]:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return False
            self.text += data.decode()
        return True

    def lines(self):
        self.read()
        return [line.split(" | ", 1)[1] for line in self.text.splitlines() if " | " in line]

    def has(self, line):
        return line in self.lines()

    def expect(self, tap, line, name):
        try:
            wait_until(lambda: self.has(line), name)
            tap.check(True, name)
        except TimeoutError:
            tap.check(False, name, self.text[-2000:])

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate()


def check_newcomers(tap, pm):
    script = pm.script("note", NOTER)
    pm.start(script, "once", "--", "before", until="before 3")
    pm.run("delete", "once")
    f, by_name = Follower(pm, "all", "--lines", "0"), Follower(pm, "later", "all", "--lines", "0")
    pm.start(script, "witness", "--", "witness", until="witness 3")
    f.expect(tap, "witness 3", "logs all: an app that is started later")
    by_name.expect(tap, "witness 1", "and with several operands")
    custom = os.path.join(pm.dir, "elsewhere", "new.log")
    pm.start(script, "custom", "--output", custom, "--", "custom", until="custom 3", file=custom)
    f.expect(tap, "custom 1", "its file may be anywhere")
    pm.start(script, "once", "--", "again", until="again 3")
    f.expect(tap, "again 1", "an app that was there once: from its end on")
    tap.check("before 1" not in f.text, "not from its beginning", f.text)
    pm.run("delete", "witness")
    pm.start(script, "witness", "--", "back", until="back 3")
    f.expect(tap, "back 1", "logs survives pmctl delete")
    pm.run("kill")
    pm.start(script, "other", "--output", os.path.join(pm.dir, "other.log"), "--", "other", until="other 3", file=os.path.join(pm.dir, "other.log"))
    f.expect(tap, "other 1", "and another pmd")
    lines = f.lines()
    tap.equal(sorted(lines), sorted(set(lines)), "each line comes once")
    f.end()
    by_name.end()
    pm.run("delete", "all")


def on_terminal(pm, *args, until, **env):
    """What pmctl prints on a terminal, up to some text."""
    ours, theirs = pty.openpty()
    p = subprocess.Popen([pm.pmctl, *args], env={**pm.env, "TERM": "xterm", **env}, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    got, deadline = b"", time.monotonic() + PATIENCE
    while until not in got and time.monotonic() < deadline and select.select([ours], [], [], PATIENCE)[0]:
        try:
            got += os.read(ours, 65536)
        except OSError:
            break
    p.terminate()
    p.wait()
    os.close(ours)
    return got


def check_terminal(tap, pm):
    pm.start(pm.script("evil", "#!/bin/sh\nprintf 'a\\033]0;title\\007b\\233c\\rd\\te\\302\\205f needle\\nend\\n'\nexec sleep 1000\n"), "evil", until="end")
    shown = b"a\\x1b]0;title\\x07b\\x9bc\\x0dd\te\\xc2\\x85f "
    got = on_terminal(pm, "logs", "evil", "--nostream", "--no-pager", until=b"end")
    tap.check(shown + b"needle" in got, "control sequences of apps are shown, not sent", got)
    got = on_terminal(pm, "logs", "evil", "--raw", "--nostream", "--no-pager", until=b"end")
    tap.check(shown + b"needle" in got, "with --raw too", got)
    got = on_terminal(pm, "logs", "evil", "--lines", "5", "--highlight", "needle", until=b"end")
    tap.check(shown + b"\033[7mneedle\033[27m" in got, "--highlight", got)
    tap.check(re.search(rb"\033\[[0-9;]*m0\|evil +\| \033\[[0-9;]*m", got), "lines have colours", got)

    pager = pm.script("pager", "#!/bin/sh\necho paged\nexec cat\n")
    got = on_terminal(pm, "logs", "evil", "--nostream", until=b"end", PAGER=pager)
    tap.check(b"paged" in got and shown in got, "--nostream goes through a pager, which gets no control sequences either", got)
    tap.check(b"paged" not in on_terminal(pm, "logs", "evil", "--nostream", "--no-pager", until=b"end", PAGER=pager), "--no-pager")
    tap.check(b"paged" not in on_terminal(pm, "logs", "evil", until=b"end", PAGER=pager), "who follows gets none")
    r = pm.run("logs", "evil", "--nostream", "--timestamp", "YYYY")
    tap.check("needle" in r.stdout, "--timestamp is taken", r.stderr)
    pm.run("delete", "evil")


def check_dead(tap, pm):
    pm.run("restart", "say")
    wait_until(lambda: pm.read(os.path.join(pm.logs, "say-out.log")).count("out 3") > 0, "say")
    pm.run("kill")
    tap.equal(pm.lines("say", "--out"), ["out 1", "out 2", "out 3"], "pmctl logs without pmd")


with Instance(sys.argv[1] if len(sys.argv) > 1 else "build") as instance:
    t = Tap()
    for check in (check_newcomers, check_terminal, check_views, check_forms, check_rotation, check_follow, check_flush, check_dead):
        check(t, instance)
sys.exit(t.done())
