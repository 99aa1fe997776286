# SPDX-License-Identifier: MIT
"""pmctl why: what pmd remembers of its processes, also when it was killed, and what its files tell when there is none."""

import json
import os
import signal

from pmctltest import NO_SUCH_APP, OK, expect, run_checks, show
from pmdtest import kill_for_good, wait_until

FAILING = """#!/bin/sh
echo 'Error: listen EADDRINUSE: address already in use :::3999' >&2
exit 3
"""


def why(pm, target):
    r = pm.run("why", target, "--json")
    if r.returncode != OK:
        raise RuntimeError(show(r))
    return json.loads(r.stdout)


def events(pm, target):
    return [(e["kind"], e["text"]) for e in why(pm, target)[0]["events"]]


def daemon_pid(pm):
    with open(os.path.join(pm.env["PMD_HOME"], "run", "pmd.lock"), encoding="utf-8") as f:
        return int(f.read())


def check_gives_up(tap, pm):
    pm.write("failing.sh", FAILING)
    pm.run("start", "./failing.sh", "--name", "port")
    wait_until(lambda: pm.status("port") == ["errored"], "an app that fails is given up")
    p = why(pm, "port")[0]
    last = p["events"][-1]
    tap.equal((last["kind"], last["code"], last["count"], last["decision"]), ("exited", 3, 16, "give-up"), "exits in a row are counted, and what followed is told")
    tap.check(last["first"] <= last["last"], "an event has a first and a last time", last)
    tap.equal(p["events"][0]["command"], "pmctl", "it is known who asked for the start")
    tap.equal(p["events"][0]["uid"], os.getuid(), "and as which user")
    tap.equal(len(p["last_lines"]), 12, "so many of its last lines are told")
    expect(tap, pm.run("why", "port"), OK, "why an app was given up, in plain words",
           ("port (id 0) is errored: it ended 16 times in a row", "exited with code 3", "EADDRINUSE", "Port 3999 is in use", "given up"))


def check_waits(tap, pm):
    pm.run("start", "./failing.sh", "--name", "waiting", "--restart-delay", "600000")
    wait_until(lambda: pm.status("waiting") == ["waiting restart"], "an app waits")
    p = why(pm, "waiting")[0]
    tap.check(p["next_restart"] > p["events"][-1]["last"] + 590 * 10**6, "the time of the next try is told", p)
    expect(tap, pm.run("why", "waiting"), OK, "why an app waits", ("waits to be restarted: it exited with code 3", "The next try comes in"))


def check_stopped(tap, pm):
    pm.run("start", "/bin/sleep", "--name", "sleeper", "--", "1000")
    expect(tap, pm.run("why", "sleeper"), OK, "an app that is online", ("is online: its process",))
    pm.run("sendSignal", "SIGUSR1", "sleeper")
    wait_until(lambda: pm.process("sleeper")["pm2_env"]["restart_time"] == 1 and pm.status("sleeper") == ["online"], "the restart")
    expect(tap, pm.run("why", "sleeper"), OK, "a signal that pmd was asked to send",
           ("It was restarted 1 time. Before, it was killed by SIGUSR1, which user", "had pmd send"))
    pm.run("stop", "sleeper")
    expect(tap, pm.run("why", "sleeper"), OK, "who stopped an app", ("is stopped: user", "pmctl) asked for that", "It then was killed by SIGINT", "Try: pmctl start sleeper"))


def check_ends_by_itself(tap, pm):
    pm.run("start", "/bin/true", "--name", "once", "--no-autorestart")
    wait_until(lambda: pm.status("once") == ["stopped"], "the end")
    expect(tap, pm.run("why", "once"), OK, "an app that is not to run again", ("is stopped: it exited with code 0", "autorestart is off"))


def check_cannot_start(tap, pm):
    pm.write("noint", "#!/nonexistent/interpreter\n")
    pm.run("start", "./noint", "--name", "never", "--interpreter", "none")
    expect(tap, pm.run("why", "never"), OK, "an app that cannot be executed", ("never (id", "cannot be started: Cannot execute", "/nonexistent/interpreter"))


def check_gone(tap, pm):
    where = os.path.join(pm.dir, "where")
    os.mkdir(where)
    script = pm.write("gone.sh", "#!/bin/bash\nsleep 1000\n")
    pm.run("start", script, "--name", "gone", "--max-restarts", "0")
    pm.run("start", "/bin/sleep", "--name", "homeless", "--cwd", where, "--", "1000")
    pids = [pm.process(name)["pid"] for name in ("gone", "homeless")]
    os.unlink(script)
    os.rmdir(where)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pm.status("gone") == pm.status("homeless") == ["errored"], "the end of both")
    expect(tap, pm.run("why", "gone"), OK, "an app whose script is gone", (f"Its script {script} is gone",))
    expect(tap, pm.run("why", "homeless"), OK, "an app whose directory is gone", (f"Its directory {where} is gone", "pmctl restart homeless --cwd DIR"))
    expect(tap, pm.run("restart", "homeless", "--cwd", pm.dir), OK, "the advice for that helps")
    tap.equal(pm.status("homeless"), ["online"], "the app runs")


def check_frozen(tap, pm):
    pm.run("start", "/bin/sleep", "--name", "frozen", "--", "1000")
    os.kill(pm.process("frozen")["pid"], signal.SIGSTOP)
    wait_until(lambda: "stopped by a signal" in pm.run("why", "frozen").stdout, "that it is told")
    expect(tap, pm.run("why", "frozen"), OK, "an app that was frozen", ("Try: pmctl sendSignal SIGCONT frozen",))
    expect(tap, pm.run("sendSignal", "SIGCONT", "frozen"), OK, "the advice for that")
    wait_until(lambda: "stopped by a signal" not in pm.run("why", "frozen").stdout, "that it goes on")


def check_writes_what_it_watches(tap, pm):
    where = os.path.join(pm.dir, "tree")
    os.mkdir(where)
    script = pm.write("tree/noisy.sh", "#!/bin/bash\nwhile :; do date >>own.log; sleep 0.05; done\n")
    pm.run("start", script, "--name", "noisy", "--cwd", where, "--watch", "--watch-delay", "0")
    wait_until(lambda: "--ignore-watch" in pm.run("why", "noisy").stdout, "the advice")
    expect(tap, pm.run("restart", "noisy", "--ignore-watch", "own.log"), OK, "it is taken")
    pid = pm.process("noisy")["pid"]
    size = os.path.getsize(os.path.join(where, "own.log"))
    wait_until(lambda: os.path.getsize(os.path.join(where, "own.log")) > size + 1000, "that it has written more")
    tap.equal(pm.process("noisy")["pid"], pid, "and it is not restarted any more")
    pm.run("delete", "noisy")


def check_survives_pmd(tap, pm):
    before = {name: events(pm, name) for name in ("port", "waiting", "sleeper", "never")}
    pid = daemon_pid(pm)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pm.run("ping").returncode == OK and daemon_pid(pm) != pid, "the next pmd")
    tap.equal({name: events(pm, name) for name in before}, before, "the next pmd knows what happened before")
    expect(tap, pm.run("why", "waiting"), OK, "and when the next try comes", ("The next try comes in",))


def check_no_pmd(tap, pm):
    pm.run("start", "/bin/sleep", "--name", "orphan", "--", "1000")
    app = pm.process("orphan")["pid"]
    pm.write("tea.sh", "echo there is no tea >&2; exit 1\n")
    pm.run("start", "tea.sh", "--name", "tea & cake", "--no-autorestart")
    wait_until(lambda: pm.status("tea & cake") == ["stopped"], "the end")
    before = events(pm, "orphan")
    kill_for_good(daemon_pid(pm))
    tap.equal(events(pm, "orphan"), before, "its files tell what happened when no pmd runs")
    expect(tap, pm.run("why", "orphan"), OK, "an app without a pmd", ("orphan (id", f"its process {app} still runs"), ("No pmd is running",))
    expect(tap, pm.run("why", "port"), OK, "an app that was given up, without a pmd", ("was errored when pmd ended", "EADDRINUSE"))
    expect(tap, pm.run("why", "tea & cake"), OK, "an app whose log file has another name, without a pmd", ("there is no tea",))
    expect(tap, pm.run("why", "nobody"), NO_SUCH_APP, "an app that no file tells of")
    os.kill(app, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{app}") or "State:\tZ" in open(f"/proc/{app}/status", encoding="utf-8").read(), "the end of the app")
    expect(tap, pm.run("why", "orphan"), OK, "an app that has ended since", (f"its process {app} has ended since",))


def check_unknown(tap, pm):
    expect(tap, pm.run("why", "nobody"), NO_SUCH_APP, "an app that there is not")


raise SystemExit(run_checks([
    check_gives_up, check_waits, check_stopped, check_ends_by_itself, check_cannot_start, check_gone, check_frozen,
    check_writes_what_it_watches, check_unknown, check_survives_pmd, check_no_pmd,
]))
