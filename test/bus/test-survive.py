#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""That kill -9 of pmd, at any moment, is a short pause to clients and nothing to apps: no error, nothing done twice, nothing left half
done. A private pmd with its keeper. Arguments: the build directory, how often to kill (default: 40)."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

from pmctltest import show
from pmdtest import Tap, kill_for_good, wait_until
from survivetest import DEATHS_FREE, LIVED, Victim


def succeed(tap, results, name):
    failed = [show(r) for r in results if r.returncode != 0]
    tap.check(not failed, name, f"{len(failed)} of {len(results)}\n" + "\n".join(failed[:3]))


def calls_see_a_pause(tap, pm, n):
    pm.run("ping")
    succeed(tap, [pm.run_killed(*(("ping",), ("jlist",), ("list",), ("describe", "x"))[i % 3]) for i in range(n)],
            f"{n} calls while pmd is killed")


def restarts_happen_once(tap, pm, n):
    r = pm.run(*pm.app("counted"))
    tap.equal(r.returncode, 0, "an app is started")
    results = []
    for i in range(n):
        wait_until(lambda: pm.n_starts("counted") > i, "the script to note its start")
        results.append(pm.run_killed("restart", "counted"))
    succeed(tap, results, f"{n} restarts while pmd is killed")
    wait_until(lambda: pm.n_starts("counted") > n, "the last start")
    wait_until(lambda: pm.status("counted") == ["online"], "the last restart")
    tap.equal(pm.process("counted")["pm2_env"]["restart_time"], n, "the counter of restarts is right")
    tap.equal(pm.n_starts("counted"), n + 1, "and so many there were")
    tap.equal({k: len(v) for k, v in pm.holders().items()}, {"counted.0.lock": 1}, "one process of the app runs")
    pm.run("delete", "counted")


def starts_and_deletes_happen_once(tap, pm, n):
    results, counts, after = [], [], []
    for i in range(n // 4):
        name = f"many{i}"
        results.append(pm.run_killed(*pm.app(name, "-i", "3")))
        results.append(pm.run_killed("scale", name, "+1"))
        counts.append(len(pm.status(name)))
        wait_until(lambda: pm.n_starts(name) >= 4, "four starts")
        results.append(pm.run_killed("stop", name))
        after.append((set(pm.status(name)), pm.n_starts(name)))
        results.append(pm.run_killed("delete", name))
    succeed(tap, results, f"{len(results)} times start, scale, stop, delete while pmd is killed")
    tap.equal(counts, [4] * (n // 4), "each app gets its four processes")
    tap.equal(after, [({"stopped"}, 4)] * (n // 4), "each of them is started once, and stopped")
    tap.equal(pm.jlist(), [], "and is gone in the end")
    wait_until(lambda: not pm.holders(), f"no process is left: {pm.holders()}")
    tap.equal(pm.leftovers(), [], "and no file")


def definitions_change_once(tap, pm, n):
    pm.run(*pm.app("changed"))
    results, lost = [], []
    for i in range(n // 4):
        wait_until(lambda: pm.n_starts("changed") > i, "the script to note its start")
        results.append(pm.run_killed("restart", "changed", "--update-env", WHICH=str(i)))
        if pm.process("changed")["pm2_env"].get("WHICH") != str(i):
            lost.append(i)
    succeed(tap, results, f"{n // 4} restarts with another environment while pmd is killed")
    tap.equal(lost, [], "the environment is that of the last one each time")
    wait_until(lambda: pm.n_starts("changed") > n // 4, "the last start")
    tap.equal(pm.n_starts("changed"), n // 4 + 1, "there is one start for each")
    pm.run("delete", "changed")


def exits_are_seen(tap, pm, n):
    exits_are_seen_by(tap, pm, n, "the kernel")


def exits_are_seen_without_the_kernel(tap, pm, n):
    pm.run("kill")
    pm.env["PMD_NO_PIDFD_EXIT"] = "1"
    exits_are_seen_by(tap, pm, n, "the keeper")
    del pm.env["PMD_NO_PIDFD_EXIT"]
    pm.run("kill")


def exits_are_seen_by(tap, pm, n, who):
    """What ends while pmd is dead is restarted once, and its status is known."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(pm.dir, "ends.starts"))
    pm.write("ends.sh", "#!/bin/sh\necho x >>ends.starts\ntrap 'exit 7' USR1\nwhile :; do sleep 0.02; done\n")
    pm.run("start", os.path.join(pm.dir, "ends.sh"), "--name", "ends", "--interpreter", "none", "--cwd", pm.dir, "--min-uptime", "100")
    wrong = []
    for i in range(n // 4):
        pid = pm.process("ends")["pid"]
        time.sleep(LIVED if i % DEATHS_FREE == 0 else 0.1)
        pm.kill()
        if i % 2:
            pm.run("ping")  # it ends when there is another pmd, which is not its parent
        os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: pm.process("ends")["pid"] not in (0, pid), "a restart")
        p = pm.process("ends")["pm2_env"]
        if (p["restart_time"], p["exit_code"]) != (i + 1, 7):
            wrong.append((i, p["restart_time"], p["exit_code"]))
    tap.equal(wrong, [], f"{n // 4} ends while pmd is dead, or is another one: {who} tells each status, each is restarted once")
    wait_until(lambda: pm.n_starts("ends") > n // 4, "the last start")
    tap.equal(pm.n_starts("ends"), n // 4 + 1, "and no more")
    pm.run("delete", "ends")


PR_SET_CHILD_SUBREAPER = 36


def exits_are_seen_that_nobody_reaps(tap, pm, _n):
    """Without the keeper that knew it an app is the child of a process 1 that may reap nobody: here that is this test."""
    pm.run("kill")
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl")
    try:
        pm.write("orphan.sh", "#!/bin/sh\ntrap '' INT\ntrap 'exit 7' USR1\nwhile :; do sleep 0.02; done\n")
        pm.run("start", os.path.join(pm.dir, "orphan.sh"), "--name", "orphan", "--interpreter", "none", "--kill-timeout", "400")
        for how, code in ((signal.SIGUSR1, 7), (signal.SIGKILL, None)):
            kill_for_good(pm.pid())
            pid = pm.process("orphan")["pid"]
            time.sleep(0.1)  # for the script to have its trap
            os.kill(pid, how)
            wait_until(lambda p=pid: pm.process("orphan")["pid"] not in (0, p), "a restart")
            tap.equal(state_of(pid), "Z", f"nobody has reaped what ended by {how.name}")
            p = pm.process("orphan")["pm2_env"]
            tap.equal(p.get("exit_code") if code else "SIGKILL" in pm.run("why", "orphan").stdout, code or True, "but it was started again, and how it ended is known")

        kill_for_good(pm.pid())
        r = pm.run("stop", "orphan")
        tap.check(r.returncode == 0 and pm.status("orphan") == ["stopped"], "what has to be killed and is not reaped is known to have been killed", show(r))
        pm.run("delete", "orphan")
        pm.run("kill")
    finally:
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass


def state_of(pid):
    """None: it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def a_waiting_client_sees_the_end(tap, pm, _n):
    pm.write("slow.sh", "#!/bin/sh\ntrap 'sleep 1; exit 0' INT\nwhile :; do sleep 0.02; done\n")
    pm.run("start", os.path.join(pm.dir, "slow.sh"), "--name", "slow", "--interpreter", "none", "--kill-timeout", "10000")
    p = subprocess.Popen([pm.pmctl, "stop", "slow"], env=pm.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_until(lambda: pm.status("slow") == ["stopping"], "the stop")
    pm.kill()
    time.sleep(0.3)
    tap.check(p.poll() is None, "a stop that is waited for goes on with the next pmd")
    tap.equal(p.wait(20), 0, "and its end is told")
    tap.equal(pm.status("slow"), ["stopped"], "when it has come")
    p.stdout.close()
    pm.run("delete", "slow")


def who_listens_hears_the_next_pmd(tap, pm, _n):
    pm.run(*pm.app("heard"))
    log = os.path.join(pm.dir, "heard.events")

    def heard(text, after=""):
        with open(log, encoding="utf-8") as f:
            return text in f.read().rpartition(after or "\0")[2]

    with open(log, "w", encoding="utf-8") as f:
        p = subprocess.Popen([pm.pmctl, "events"], env=pm.env, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT)
    while not heard("restart"):  # the subscription takes its time
        pm.run("restart", "heard")
    pm.kill()
    pm.run("ping")
    wait_until(lambda: heard("pmd:resumed pmd was restarted"), "the notice")
    tap.check(p.poll() is None, "events go on with the next pmd, and who listens is told that some are missing")
    pm.run("stop", "heard")
    wait_until(lambda: heard("stop", "pmd:resumed"), "the stop among the events of the next one")
    p.terminate()
    p.wait()
    pm.run("delete", "heard")


def an_update_is_not_noticed(tap, pm, _n):
    pm.run(*pm.app("updated", "-i", "2"))
    wait_until(lambda: len(pm.holders()) == 2, "both processes")
    held, before = pm.holders(), pm.pid()
    r = pm.run("update")
    tap.check(r.returncode == 0 and "in version" in r.stdout, "an update", show(r))
    tap.check(pm.pid() != before, "starts another pmd")
    tap.equal((pm.holders(), pm.n_starts("updated"), pm.status("updated")), (held, 2, ["online"] * 2), "and the apps run on")
    tap.equal(pm.run("updatePM2").returncode, 0, "by the name of pm2's, too")
    r = pm.run_killed("update")
    tap.equal(r.returncode, 0, "and when pmd is killed meanwhile")
    tap.equal(pm.holders(), held, "nothing happens to the apps")
    pm.run("delete", "updated")


def limits_are_the_callers(tap, pm, _n):
    pm.run("kill")
    subprocess.run(["sh", "-c", 'ulimit -Sn 777; exec "$0" ping', pm.pmctl], env=pm.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    limits = []
    for args in ((), ("--limit-nofile", "999")):
        pm.run(*pm.app("limited", *args))
        with open(f"/proc/{pm.process('limited')['pid']}/limits", encoding="utf-8") as f:
            limits.append(next(line.split()[3] for line in f if line.startswith("Max open files")))
        pm.run("delete", "limited")
    tap.equal(limits, ["777", "999"], "the limit of open files is that of who started pmd, or what was said")


def a_pmd_that_cannot_live(tap, pm, _n):
    """The keeper tries on, and the list is read from the files."""
    pm.run("kill")
    link = os.path.join(pm.dir, "pmd")
    os.symlink(os.path.join(os.path.dirname(pm.pmctl), "pmd"), link)
    pm.env["PMD_DAEMON"] = link
    pm.run(*pm.app("alone"))
    wait_until(pm.holders, "the process")
    held = pm.holders()
    os.unlink(link)
    os.symlink("/bin/false", link)
    pm.kill()
    r = pm.run("list")
    tap.check(r.returncode == 69 and "alone" in r.stdout and "runs" in r.stdout and "dies as often" in r.stderr, "the list without a pmd", show(r))
    tap.equal(pm.holders(), held, "the app runs on")
    r = pm.run("kill")
    tap.check(r.returncode == 69 and "alone" in r.stdout and "Stopped" not in r.stdout and "dies as often" in r.stderr, "nothing is told to be stopped", show(r))
    os.unlink(link)
    os.symlink(os.path.join(os.path.dirname(pm.pmctl), "pmd"), link)
    r = pm.run("list")
    tap.check(r.returncode == 0 and "alone" in r.stdout, "a good one takes over", show(r))
    tap.equal((pm.holders(), pm.n_starts("alone")), (held, 1), "what runs")
    pm.run("kill")
    del pm.env["PMD_DAEMON"]


def the_end_on_purpose_is_no_pause(tap, pm, _n):
    pm.write("deaf.sh", "#!/bin/sh\ntrap '' INT\nwhile :; do sleep 0.1; done\n")
    pm.run("start", os.path.join(pm.dir, "deaf.sh"), "--name", "deaf", "--interpreter", "none", "--kill-timeout", "700")
    with subprocess.Popen([pm.pmctl, "stop", "deaf"], env=pm.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        wait_until(lambda: pm.status("deaf") == ["stopping"], "the stop")
        tap.equal(pm.run("kill").returncode, 0, "pmd is ended on purpose")
        p.wait(20)
    tap.check(pm.comm(pm.pid()) != "pmd", "and a client that waited does not start it again")

    pm.run("ping")
    kill_for_good(pm.pid())
    before = time.monotonic()
    r = pm.run("ping")
    tap.check(r.returncode == 0 and time.monotonic() < before + 8, "without a keeper nobody waits for another: one is started at once", show(r))

    pm.run("start", os.path.join(pm.dir, "deaf.sh"), "--name", "left", "--interpreter", "none", "--kill-timeout", "100")
    pid = pm.jlist()[0]["pid"]
    kill_for_good(pm.pid())
    r = pm.run("kill")
    tap.check(r.returncode == 0 and "[left]" in r.stdout and state_of(pid) in (None, "Z"), "what a killed pmd has left is stopped with it", show(r))
    r = pm.run("kill")
    tap.check(r.returncode == 0 and pm.comm(pm.pid()) != "pmd", "where nothing is left no pmd is started to be ended", show(r))


def main():
    build, n = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40
    tap = Tap()
    with Victim(build) as pm:
        for check in (calls_see_a_pause, restarts_happen_once, starts_and_deletes_happen_once, definitions_change_once, exits_are_seen, exits_are_seen_without_the_kernel, exits_are_seen_that_nobody_reaps,
                      a_waiting_client_sees_the_end, who_listens_hears_the_next_pmd,
                      an_update_is_not_noticed, limits_are_the_callers, a_pmd_that_cannot_live, the_end_on_purpose_is_no_pause):
            try:
                check(tap, pm, n)
            except Exception as e:  # the other checks may still tell something
                tap.check(False, check.__name__, repr(e))
        if tap.failed:
            with open(os.path.join(pm.dir, "home", "pmd.log"), encoding="utf-8", errors="replace") as f:
                print("# " + "# ".join(f.readlines()[-60:]))
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
