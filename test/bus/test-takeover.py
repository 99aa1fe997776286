#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the next pmd finds of the one before: processes whose parents have ended, cgroups that are gone, files that it did not write.
Argument: the build directory."""

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import statefile
from pmctltest import show
from pmdtest import Tap, wait_until
from survivetest import Victim

# Forks twice, at once or when told to, and leaves a process in a session of its own, whose parent has ended.
FORKER = """#!/bin/sh
leave() { setsid sh -c 'sleep 10000 & echo $! >>"$0"' "$1.left"; }
trap 'leave "$1"' USR1
trap 'exit 3' USR2
leave "$1"
while :; do sleep 0.02; done
"""


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def left_by(pm, name):
    try:
        with open(os.path.join(pm.dir, name + ".left"), encoding="utf-8") as f:
            return [int(line) for line in f]
    except FileNotFoundError:
        return []


def start_forker(pm, name, *args):
    pm.write(name + ".sh", FORKER)
    r = pm.run("start", os.path.join(pm.dir, name + ".sh"), "--name", name, "--interpreter", "none", "--min-uptime", "100", "--kill-timeout", "500",
               *args, "--", os.path.join(pm.dir, name))
    if r.returncode != 0:
        raise RuntimeError(show(r))
    wait_until(lambda: len(left_by(pm, name)) == 1, "the app to leave a process")
    return pm.process(name)["pid"]


def kill_and_wait(pm):
    before = pm.pid()
    pm.kill()
    pm.run("ping")
    wait_until(lambda: pm.pid() not in (0, before), "the next pmd")


def messages(pm):
    with open(os.path.join(pm.dir, "home", "pmd.log"), encoding="utf-8", errors="replace") as f:
        return f.read()


def what_was_left_is_stopped(tap, pm, runner):
    main = start_forker(pm, "forker")
    kill_and_wait(pm)
    os.kill(main, signal.SIGUSR1)
    wait_until(lambda: len(left_by(pm, "forker")) == 2, "the app to leave another")
    left = left_by(pm, "forker")
    tap.equal([lives(pid) for pid in (main, *left)], [True] * 3, f"{runner}: an app forks twice before and after pmd was killed")
    r = pm.run("stop", "forker")
    tap.check(r.returncode == 0 and pm.status("forker") == ["stopped"], f"{runner}: a stop", show(r))
    tap.equal([lives(pid) for pid in (main, *left)], [False] * 3, f"{runner}: ends all of it")
    pm.run("delete", "forker")


def what_was_left_by_the_dead_is_removed(tap, pm, runner):
    """The app ends while there is no pmd, and a process of it lives on."""
    main = start_forker(pm, "dead")
    left = left_by(pm, "dead")
    other = start_forker(pm, "other")
    os.kill(pm.pid(), signal.SIGSTOP)
    os.kill(main, signal.SIGUSR2)
    wait_until(lambda: not lives(main), "the end of the app")
    kill_and_wait(pm)
    wait_until(lambda: len(left_by(pm, "dead")) == 2, "another start")
    tap.equal([lives(pid) for pid in left], [False], f"{runner}: what an app left that has ended without a pmd is removed before the next start")
    tap.equal([lives(pid) for pid in (other, *left_by(pm, "other"))], [True] * 2, f"{runner}: and nothing of another app")
    pm.run("delete", "dead", "other")


def nothing_is_left(tap, pm, runner):
    main = start_forker(pm, "ended")
    left = left_by(pm, "ended")
    os.kill(pm.pid(), signal.SIGSTOP)
    for pid in (main, *left):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(lives, (main, *left))), "the end of the app")
    kill_and_wait(pm)
    wait_until(lambda: len(left_by(pm, "ended")) == 2, "another start")
    tap.equal(pm.process("ended")["pm2_env"]["restart_time"], 1, f"{runner}: what has ended without a pmd is started again once")
    pm.run("delete", "ended")
    tap.check("Failed to" not in messages(pm), f"{runner}: with nothing to complain about", messages(pm)[-2000:])


def cgroup_of(pid):
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
        return next(line.split("::")[1].strip() for line in f if line.startswith("0::"))


def find_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return next(line.split()[4] for line in f if " - cgroup2 " in line)


def who_was_moved_is_stopped(tap, pm, _runner):
    """Somebody moves the processes to another cgroup, and removes the one that pmd has made."""
    main = start_forker(pm, "moved")
    directory = find_mount() + cgroup_of(main)
    with open(os.path.join(directory, "cgroup.procs"), encoding="utf-8") as f:
        pids = f.read().split()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError), open(os.path.join(find_mount(), "cgroup.procs"), "w", encoding="utf-8") as f:
            f.write(pid)
    wait_until(lambda: not open(os.path.join(directory, "cgroup.procs"), encoding="utf-8").read(), "the cgroup to be empty")
    os.rmdir(directory)
    r = pm.run("stop", "moved")
    tap.check(r.returncode == 0 and pm.status("moved") == ["stopped"] and not lives(main), "cgroup: a process that was moved away can be stopped", show(r))
    main = start_again(pm, "moved", 2)
    directory = find_mount() + cgroup_of(main)
    tap.check(os.path.isdir(directory), "cgroup: and started again")
    pm.run("delete", "moved")
    for pid in left_by(pm, "moved"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start_again(pm, name, n):
    pm.run("start", name)
    wait_until(lambda: len(left_by(pm, name)) == n, "another start")
    return pm.process(name)["pid"]


def cgroups_can_be_made(pm):
    pm.env["PMD_RUNNER"] = "cgroup"
    r = pm.run("ping")
    pm.run("kill")
    return r.returncode == 0


def pmds_of(pm):
    """All that serve this directory."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as f:
                argv = f.read().split("\0")
            if "--private=" + pm.env["PMD_HOME"] in argv:
                found.append(int(pid))
    return sorted(found)


# Counts what it could send.
NOTIFIER = """import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    try:
        s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
        with open("sent", "a") as f:
            f.write("x")
    except OSError:
        pass
    time.sleep(0.02)
"""


def outputs(pids):
    return [os.readlink(f"/proc/{pid}/fd/{fd}") for pid in pids for fd in (1, 2)]


def size(path):
    with contextlib.suppress(FileNotFoundError):
        return os.stat(path).st_size
    return 0


def text_of(path):
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as f:
        return f.read()
    return ""


def what_is_removed_is_made_anew(tap, pm, _runner):
    home = os.path.join(pm.dir, "home")
    run = os.path.join(home, "run")
    pm.run(*pm.app("kept", "-i", "2"))
    wait_until(lambda: len(pm.holders()) == 2, "the processes")
    held, served = pm.holders(), pmds_of(pm)
    tap.equal(len(served), 2, "a pmd and its keeper serve")
    log, sent, cluster = os.path.join(home, "pmd.log"), os.path.join(pm.dir, "sent"), os.path.join(run, "clusters", "web")
    pm.write("notifier.py", NOTIFIER)
    pm.write("web.js", "require('http').createServer((q, r) => r.end('ok')).listen(process.cwd() + '/web.sock');\n")
    for command in (["start", "notifier.py", "--name", "notifier", "--interpreter", sys.executable, "--notify"], ["start", "web.js", "--name", "web", "-i", "2"]):
        r = pm.run(*command)
        tap.check(r.returncode == 0, " ".join(command), show(r))
    wait_until(lambda: text_of(cluster).count('"active":true') == 2, "the cluster to listen")
    listeners = text_of(cluster)

    for what, remove in (
        ("the socket", lambda: os.unlink(os.path.join(run, "pmd.sock"))),
        ("the lock", lambda: os.unlink(os.path.join(run, "pmd.lock"))),
        ("the keeper's lock", lambda: os.unlink(os.path.join(run, "keeper.lock"))),
        ("the log", lambda: os.unlink(log)),
        ("the runtime directory", lambda: shutil.rmtree(run)),
        ("all that pmd has", lambda: shutil.rmtree(home, ignore_errors=True)),
    ):
        remove()
        results = [pm.run("ping") for _ in range(3)]
        wait_until(lambda: all(os.path.exists(os.path.join(run, f)) for f in ("pmd.sock", "pmd.lock", "keeper.lock")), f"{what} to be made anew")
        tap.check(all(r.returncode == 0 for r in results), f"{what} is removed: pmctl ping", show(results[0]))
        tap.equal(pmds_of(pm), served, "is answered by the same pmd, the only one")
        tap.equal((pm.holders(), pm.status("kept")), (held, ["online"] * 2), "that has the apps")
        wait_until(lambda: set(outputs(served)) == {log}, "pmd and its keeper to write to the log that there is")
        before = size(sent)
        wait_until(lambda: size(sent) > before, "an app to reach its notification socket")
        wait_until(lambda: text_of(cluster) == listeners, "the file of the cluster")

    wait_until(lambda: len(statefile.states(run)) == 5, "what is known of the processes")
    before = pm.pid()
    pm.kill()
    r = pm.run("ping")
    tap.check(r.returncode == 0 and pm.pid() != before and len(pmds_of(pm)) == len(served), "when that is killed, its keeper starts another", show(r))
    tap.equal((pm.holders(), pm.status("kept")), (held, ["online"] * 2), "that has them too")
    tap.equal(set(outputs(pmds_of(pm))), {log}, "and writes to the log that there is")
    pm.run("delete", "all")
    tap.equal(pm.leftovers(), [], "and leaves no file of what is deleted")


def a_second_keeper_is_refused(tap, pm, _runner):
    """Somebody removes all locks, and pmd is not as fast as who comes next."""
    run = os.path.join(pm.dir, "home", "run")
    pm.run("ping")
    served, daemon = pmds_of(pm), os.path.join(os.path.dirname(pm.pmctl), "pmd")
    for pid in served:
        os.kill(pid, signal.SIGSTOP)
    shutil.rmtree(run)
    r = subprocess.run([daemon, "--keeper", "--private=" + pm.env["PMD_HOME"]], env=pm.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, encoding="utf-8")
    for pid in served:
        os.kill(pid, signal.SIGCONT)
    tap.check(r.returncode != 0 and "runs already" in r.stderr and pmds_of(pm) == served, "no second keeper starts, with no lock in its way", show(r))
    wait_until(lambda: all(os.path.exists(os.path.join(run, f)) for f in ("pmd.sock", "pmd.lock", "keeper.lock")), "the locks to be made anew")
    r = pm.run("ping")
    tap.check(r.returncode == 0 and pmds_of(pm) == served, "and the first answers", show(r))


def abstract_names_of(pid):
    sockets = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as f:
        rows = [line.split() for line in f][1:]
    return [row[7] for row in rows if len(row) > 7 and row[7].startswith("@") and f"socket:[{row[6]}]" in sockets]


# Listens by that name as nobody.
SQUATTER = """import os, socket, sys
os.setuid(65534)
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.bind("\\0" + sys.argv[1])
s.listen()
print("listens", flush=True)
sys.stdin.read()
"""


def a_stranger_has_the_name(tap, pm, _runner):
    pm.run("ping")
    with open(f"/proc/{pm.pid()}/stat", encoding="utf-8") as f:
        keeper = int(f.read().rsplit(")", 1)[1].split()[1])
    (name,) = [name for name in abstract_names_of(keeper) if name.startswith("@pmd-keeper/")]
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.setblocking(False)
        tap.equal(stranger.connect_ex("\0" + name[1:]), errno.ECONNREFUSED, "strangers can leave nothing in the keeper's socket")
    pm.run("kill")
    wait_until(lambda: not lives(keeper), "the end of the keeper")
    with subprocess.Popen([sys.executable, "-c", SQUATTER, name[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        listens = p.stdout.readline()
        r = pm.run("ping")
        tap.check(listens == b"listens\n" and r.returncode == 0, "a name that another user has taken keeps no keeper from its work", show(r))


# What pmd wrote of a process when there was version 1 of the format for the first time.
FIRST_KEYS = set("""version boot id app owner definition instance unique_id goal state restart_wanted delete_wanted kill_tried restart_granted watching
    reached_online gate_opened incarnation n_restarts unstable_restarts history_created_at prev_delay created_realtime started_monotonic started_realtime
    exit_code exit_signal exit_reason timer timer_at pid pid_start_time pid_id cgroup invocation_id""".split())


def change_state(pm, name, change):
    """Kills pmd and, before the next one comes, changes what it wrote of a process."""
    run, pid = os.path.join(pm.dir, "home", "run"), pm.pid()
    os.kill(pid, signal.SIGSTOP)
    slot, state = next((slot, state) for slot, state in statefile.states(run).items() if state["app"] == name)
    statefile.write_state(run, slot, change(state))
    os.kill(pid, signal.SIGKILL)
    pm.run("ping")
    wait_until(lambda: pm.pid() != pid, "the next pmd")
    return slot


def an_older_format_is_read(tap, pm, _runner):
    pm.run(*pm.app("older"))
    wait_until(pm.holders, "the process")
    pm.run("restart", "older")
    wait_until(lambda: pm.n_starts("older") == 2, "the restart")
    held = pm.holders()
    change_state(pm, "older", lambda state: {k: v for k, v in state.items() if k in FIRST_KEYS})
    p = pm.process("older")
    tap.equal((p["pid"], p["pm2_env"]["status"], p["pm2_env"]["restart_time"]), (held["older.0.lock"][0], "online", 1), "what the first version wrote is read")
    r = pm.run("restart", "older")
    wait_until(lambda: pm.n_starts("older") == 3, "the restart")
    tap.equal((r.returncode, pm.process("older")["pm2_env"]["restart_time"]), (0, 2), "and gone on with")
    pm.run("delete", "older")


def a_newer_format_is_left_alone(tap, pm, _runner):
    run = os.path.join(pm.dir, "home", "run")
    pm.run(*pm.app("newer"))
    pm.run(*pm.app("ours"))
    wait_until(lambda: len(pm.holders()) == 2, "the processes")
    held = pm.holders()
    slot = change_state(pm, "newer", lambda state: {**state, "version": 1000, "new": {"of": ["another", "kind"]}})
    tap.equal((pm.status("newer"), pm.status("ours"), pm.holders()), ([], ["online"], held), "what a newer pmd wrote is left alone")
    state = statefile.states(run).get(slot, {})
    tap.check(state.get("version") == 1000 and "is of format 1000" in messages(pm), "and told of", messages(pm)[-1000:])
    pm.run("delete", "all")
    pm.run(*pm.app("another"))
    tap.check(pm.process("another")["pm_id"] > state["id"], "its number is not given to another")
    pm.run("delete", "another")
    tap.equal((statefile.states(run), statefile.definitions_of(state) - set(statefile.definitions(run))), ({slot: state}, set()),
              "nor its slot, and its definition is kept")

    pid = pm.pid()
    os.kill(pid, signal.SIGSTOP)
    statefile.write_state(run, slot, {**state, "version": 1})
    os.kill(pid, signal.SIGKILL)
    pm.run("ping")
    tap.equal((pm.status("newer"), pm.process("newer")["pid"]), (["online"], held["newer.0.lock"][0]), "the pmd that wrote it takes it over")
    pm.run("delete", "newer")
    wait_until(lambda: not pm.holders(), "the end")
    tap.equal(pm.leftovers(), [], "and leaves nothing in the end")


def an_open_request_is_written_again(tap, pm, _runner):
    run = os.path.join(pm.dir, "home", "run")
    pm.write("deaf.sh", "#!/bin/sh\ntrap '' INT\nwhile :; do sleep 0.1; done\n")
    pm.run("start", os.path.join(pm.dir, "deaf.sh"), "--name", "deaf", "--interpreter", "none", "--kill-timeout", "4000")
    with subprocess.Popen([pm.pmctl, "stop", "deaf"], env=pm.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        wait_until(lambda: any(statefile.requests(run)), "the request")
        before = statefile.requests(run)
        os.unlink(os.path.join(run, "requests"))
        wait_until(lambda: statefile.requests(run) == before, "the request to be written again")
        before = pm.pid()
        pm.kill()
        tap.equal(p.wait(30), 0, "a request whose file is removed is carried out by the next pmd")
    tap.check(pm.pid() != before and pm.status("deaf") == ["stopped"], "which has stopped the app", pm.status("deaf"))
    pm.run("delete", "deaf")


def append_request(pm, name, init_start_time):
    """Kills pmd; for the next one the process has still to be deleted, if it is one of this boot's and process 1's."""
    run, pid = os.path.join(pm.dir, "home", "run"), pm.pid()
    os.kill(pid, signal.SIGSTOP)
    state = next(state for state in statefile.states(run).values() if state["app"] == name)
    job = {"id": 1000, "verb": "delete", "app": name, "processes": [state["id"]], "incarnations": [state["incarnation"]]}
    with open(os.path.join(run, "requests"), "a") as f:
        f.write(json.dumps({"version": 1, "boot": state["boot"], "init_start_time": init_start_time(state), "jobs": [job]}) + "\n")
    os.kill(pid, signal.SIGKILL)
    pm.run("ping")
    wait_until(lambda: pm.pid() != pid, "the next pmd")


def a_request_of_another_container_is_void(tap, pm, _runner):
    pm.run(*pm.app("kept"))
    wait_until(pm.holders, "the process")
    held = pm.holders()
    append_request(pm, "kept", lambda state: state["init_start_time"] + 1)
    pm.run("start", "/bin/true", "--name", "later", "--no-autorestart")
    tap.equal((pm.status("kept"), pm.holders()), (["online"], held), "what another process 1 of the same boot had to do is not done")
    append_request(pm, "kept", lambda state: state["init_start_time"])
    wait_until(lambda: not pm.status("kept"), "the deletion")
    tap.equal(pm.holders(), {}, "what this one's had to do is")
    pm.run("delete", "all")


def definitions_that_nobody_needs_go(tap, pm, _runner):
    run = os.path.join(pm.dir, "home", "run")
    pm.run(*pm.app("changing"))
    for i in range(5):
        pm.run("restart", "changing", "--update-env", NUMBER=str(i))
        wait_until(lambda: pm.n_starts("changing") == i + 2, "the restart")
    wait_until(lambda: pm.status("changing") == ["online"], "the last start")
    tap.check(len(statefile.definitions(run)) > 1, "a definition is added to the file when it changes", statefile.definitions(run).keys())
    kill_and_wait(pm)
    tap.equal(pm.status("changing"), ["online"], "the next pmd knows the app")
    (state,) = statefile.states(run).values()
    definitions = statefile.definitions(run)
    tap.equal(set(definitions), {state["definition"]}, "and leaves in the file what is needed")
    tap.check("NUMBER=4" in definitions[state["definition"]]["environment"], "which is the last one")
    pm.run("delete", "changing")
    tap.equal((statefile.left(run), [os.stat(os.path.join(run, f)).st_size for f in ("processes", "definitions")]), ([], [0, 0]), "which is nothing in the end")


def the_clock_leaps(tap, pm, runner):
    """The clock on the wall, as pmd sees it, by ten years and back, while pmd lives and while it does not."""
    module, file = os.path.join(os.path.dirname(pm.pmctl), "..", "test", "clock-jump.so"), pm.write("clock", "0", 0o644)
    pm.run("kill")
    daemon = os.path.join(os.path.dirname(pm.pmctl), "pmd")
    # The sanitizer of a build that has it would rather be the first library.
    pm.env["PMD_DAEMON"] = pm.write("pmd", '#!/bin/sh\nexport ASAN_OPTIONS="$ASAN_OPTIONS:verify_asan_link_order=0"\n' + f'LD_PRELOAD={os.path.normpath(module)} CLOCK_JUMP={file} exec {daemon} "$@"\n')
    pm.run(*pm.app("calm"))
    pm.write("crash.sh", "#!/bin/sh\necho >>crash.starts\nsleep 0.1\nexit 1\n")
    pm.run("start", os.path.join(pm.dir, "crash.sh"), "--name", "crash", "--interpreter", "none", "--cwd", pm.dir, "--restart-delay", "300", "--max-restarts", "1000")
    wait_until(pm.holders, "the process")
    held, decade = pm.holders(), 10 * 365 * 86400
    with open(f"/proc/{pm.pid()}/maps", encoding="utf-8") as f:
        tap.check("clock-jump.so" in f.read(), "a pmd with a clock of its own")

    for offset, what in ((decade, "forward"), (-decade, "back"), (0, "forward again")):
        for killed in (False, True):
            n = pm.n_starts("crash")
            with open(file, "w", encoding="utf-8") as f:
                f.write(str(offset))
            if killed:
                kill_and_wait(pm)
            wait_until(lambda: pm.n_starts("crash") >= n + 3, "three more starts after a delay each")
            calm = pm.process("calm")
            tap.equal((calm["pid"], calm["pm2_env"]["status"], calm["pm2_env"]["restart_time"]), (held["calm.0.lock"][0], "online", 0),
                      f"the clock leaps {what}{', and pmd is killed' if killed else ''}: apps run on, delays go on")
            r = pm.run("list")
            tap.check(r.returncode == 0 and "calm" in r.stdout, "and are listed", show(r))
    r = pm.run("stop", "all")
    tap.equal((r.returncode, pm.holders()), (0, {}), "and they are stopped")
    pm.run("delete", "all")
    pm.run("kill")
    del pm.env["PMD_DAEMON"]


# Says something whenever it is told to.
TALKER = """#!/bin/sh
n=0
trap 'n=$((n + 1)); echo out $n; echo err $n >&2; echo $n >told' USR1
trap 'exit 7' USR2
echo ready
while :; do sleep 0.02; done
"""


def kept_by_the_keeper(pm):
    with open(f"/proc/{pm.pid()}/stat", encoding="utf-8") as f:
        keeper = int(f.read().rsplit(")", 1)[1].split()[1])
    kinds = {}
    for fd in os.listdir(f"/proc/{keeper}/fd"):
        with contextlib.suppress(FileNotFoundError):
            kind = os.readlink(f"/proc/{keeper}/fd/{fd}").removeprefix("anon_inode:").strip("[]0123456789:")
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def tell(pm, pid, signo, without_pmd, done):
    """Without: pmd is killed before it can take note of what is done."""
    before = pm.pid()
    if without_pmd:
        os.kill(before, signal.SIGSTOP)
    os.kill(pid, signo)
    wait_until(done, "the app to act")
    if without_pmd:
        os.kill(before, signal.SIGKILL)
        pm.run("ping")
        wait_until(lambda: pm.pid() not in (0, before), "the next pmd")


def what_is_kept_is_of_use(tap, pm, where, kept):
    pm.run("ping")
    kill_and_wait(pm)  # who started the keeper is told no more
    before = kept_by_the_keeper(pm)
    pm.write("talker.sh", TALKER)
    pm.run("start", os.path.join(pm.dir, "talker.sh"), "--name", "talker", "--interpreter", "none", "--min-uptime", "100", "--cwd", pm.dir,
           "--output", "talker.out", "--error", "talker.err", "--merge-logs")
    out, err = (os.path.join(pm.dir, "talker." + kind) for kind in ("out", "err"))
    wait_until(lambda: text_of(out) == "ready\n", "the app")
    wait_until(lambda: kept_by_the_keeper(pm) != before, "what the keeper gets")
    more = {kind: n - before.get(kind, 0) for kind, n in kept_by_the_keeper(pm).items() if n != before.get(kind, 0)}
    tap.equal(more, kept, f"{where}: what the keeper has of a process")

    pid = pm.process("talker")["pid"]
    for n in range(1, 4):
        tell(pm, pid, signal.SIGUSR1, n > 1, lambda: text_of(os.path.join(pm.dir, "told")) == f"{n}\n")
        wait_until(lambda: text_of(out).endswith(f"out {n}\n") and text_of(err).endswith(f"err {n}\n"), f"the lines of {'pmd' if n == 1 else 'a pmd after it'}")
    tap.equal((text_of(out), text_of(err)), ("ready\nout 1\nout 2\nout 3\n", "err 1\nerr 2\nerr 3\n"), f"{where}: one pmd after the other reads its output")

    tell(pm, pid, signal.SIGUSR2, True, lambda: not lives(pid))
    wait_until(lambda: text_of(out).endswith("out 3\nready\n") and pm.status("talker") == ["online"], "the restart")
    p = pm.process("talker")
    tap.equal((p["pm2_env"]["exit_code"], p["pm2_env"]["restart_time"]), (7, 1), f"{where}: its end while there was none is known to the next")
    pm.run("delete", "talker")
    wait_until(lambda: kept_by_the_keeper(pm) == before, "the keeper to have nothing more")
    tap.check("Failed to" not in messages(pm), f"{where}: with nothing to complain about", messages(pm)[-2000:])


def may_have_bags():
    """CAP_SYS_ADMIN or CAP_SYS_RESOURCE, and that not only in a user namespace."""
    with open("/proc/self/status", encoding="utf-8") as f:
        capabilities = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff:"))
    with open("/proc/self/uid_map", encoding="utf-8") as f:
        return os.geteuid() == 0 and capabilities & (1 << 21 | 1 << 24) != 0 and f.read().split() == ["0", "0", str(2**32 - 1)]


def many_are_kept(tap, pm):
    """More than what is in flight may be of a service's that has privileges no more."""
    pm.run("ping")
    kill_and_wait(pm)
    before = kept_by_the_keeper(pm)

    def more():
        return {kind: n - before.get(kind, 0) for kind, n in kept_by_the_keeper(pm).items() if n != before.get(kind, 0)}

    pm.run("start", "/usr/bin/sleep", "--name", "many", "--interpreter", "none", "-f", "-i", "400", "--", "100000")
    expected = {"socket": 400}
    wait_until(lambda: sum(more().values()) >= 400, "what the keeper gets")
    tap.equal(more(), expected, "of many processes each is kept in a bag")
    kill_and_wait(pm)
    pm.run("scale", "many", "3")
    pm.run("scale", "many", "400")
    wait_until(lambda: more() == expected, "the same after another pmd and other processes")
    pm.run("delete", "many")
    wait_until(lambda: kept_by_the_keeper(pm) == before, "the keeper to have nothing more")
    tap.check("Failed to" not in messages(pm), "with nothing to complain about", messages(pm)[-2000:])


def what_is_kept(tap, build):
    daemon = os.path.join(build, "src", "pmd")
    singly = {"pidfd": 1, "pipe": 2}
    with Victim(build) as pm:
        what_is_kept_is_of_use(tap, pm, "in a bag", {"socket": 1} if may_have_bags() else singly)
    if not may_have_bags():
        return
    with Victim(build) as pm:
        many_are_kept(tap, pm)
    with Victim(build) as pm:
        pm.env["PMD_DAEMON"] = pm.write("pmd", f'#!/bin/sh\nexec setpriv --bounding-set=-sys_resource,-sys_admin {daemon} "$@"\n')
        what_is_kept_is_of_use(tap, pm, "without the privilege", singly)
    with Victim(build) as pm:
        pm.env["PMD_DAEMON"] = pm.write("pmd", f'#!/bin/sh\nexec unshare --user --map-root-user {daemon} "$@"\n')
        if pm.run("ping").returncode != 0:
            tap.check(True, "no user namespaces # SKIP")
            return
        what_is_kept_is_of_use(tap, pm, "in a user namespace", singly)


def with_runner(tap, build, runner, checks):
    with Victim(build) as pm:
        if runner == "cgroup" and not cgroups_can_be_made(pm):
            tap.check(True, "cgroup # SKIP no cgroups can be made here")
            return
        pm.env["PMD_RUNNER"] = runner
        for check in checks:
            try:
                check(tap, pm, runner)
            except Exception as e:  # the other checks may still tell something
                tap.check(False, f"{runner}: {check.__name__}", f"{e!r}\n{messages(pm)[-3000:]}")


def main():
    build = os.path.abspath(sys.argv[1])
    tap = Tap()
    common = (what_was_left_is_stopped, what_was_left_by_the_dead_is_removed, nothing_is_left)
    with_runner(tap, build, "plain", (*common, the_clock_leaps, an_open_request_is_written_again, a_request_of_another_container_is_void, definitions_that_nobody_needs_go, an_older_format_is_read, a_newer_format_is_left_alone, what_is_removed_is_made_anew,
                                  a_second_keeper_is_refused, a_stranger_has_the_name))
    with_runner(tap, build, "cgroup", (*common, who_was_moved_is_stopped))
    what_is_kept(tap, build)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
