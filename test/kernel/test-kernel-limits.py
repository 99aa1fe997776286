# SPDX-License-Identifier: MIT
"""Figures, limits and the OOM killer, where there are controllers."""

import json
import os
import time

import kernel

APPS = kernel.GUEST_DIR + "/apps"
MIB = 1 << 20


def seconds(function, *arguments):
    start = time.monotonic()
    function(*arguments)
    return time.monotonic() - start


def touch(path):
    with open(path, "w", encoding="utf-8"):
        pass


def start(guest, name, *arguments):
    """The id of the new process."""
    before = {p["pm_id"] for p in json.loads(guest.pmctl("jlist"))}
    guest.pmctl("start", *arguments[:1], "--name", name, *arguments[1:])
    return next(p["pm_id"] for p in json.loads(guest.pmctl("jlist")) if p["pm_id"] not in before)


# ---- limits ----


def limits_arrive(guest):
    guest.equal(guest.read(kernel.CGROUP_ROOT + "/cgroup.controllers"), "cpu io memory pids", "the kernel has the controllers")
    api = start(guest, "api", "/bin/sleep", "--memory-max", "600M", "--memory-high", "500M", "--cpu-quota", "150%", "--cpu-weight", "50", "--tasks-max", "70",
                "--io-weight", "60", "--allowed-cpus", "0", "--", "infinity")
    cgroup = guest.cgroup(api)
    guest.equal(guest.read(cgroup + "/memory.max"), "629145600", "memory_max is in memory.max")
    guest.equal(guest.read(cgroup + "/memory.high"), "524288000", "memory_high is in memory.high")
    guest.equal(guest.read(cgroup + "/cpu.max"), "150000 100000", "cpu_quota is in cpu.max")
    guest.equal(guest.read(cgroup + "/cpu.weight"), "50", "cpu_weight is in cpu.weight")
    guest.equal(guest.read(os.path.dirname(cgroup) + "/cpu.weight"), "50", "and in that of the app's slice")
    guest.equal(guest.read(cgroup + "/pids.max"), "70", "tasks_max is in pids.max")
    notes = guest.pmctl("describe", "api")
    guest.matches(notes, "allowed_cpus has no effect here: there is no controller 'cpuset'", "what this kernel lacks is told")
    guest.check("memory_max has no effect" not in notes and "cpu_quota has no effect" not in notes, "and nothing else", notes)

    pid = guest.property(api, "PID")
    guest.pmctl("set-property", "api", "memory_max=700M", "memory_high=infinity", "cpu_quota=50%", "cpu_weight=200", "tasks_max=80")
    guest.wait(lambda: guest.read(cgroup + "/pids.max") == "80", "set-property changes pids.max while it runs")
    guest.equal(guest.read(cgroup + "/memory.max"), "734003200", "and memory.max")
    guest.equal(guest.read(cgroup + "/memory.high"), "max", "and takes memory.high back")
    guest.equal(guest.read(cgroup + "/cpu.max"), "50000 100000", "and cpu.max")
    guest.equal(guest.read(cgroup + "/cpu.weight"), "200", "and cpu.weight")
    guest.wait(lambda: guest.read(os.path.dirname(cgroup) + "/cpu.weight") == "200", "and that of the slice")
    guest.equal(guest.property(api, "PID"), pid, "of the same process")
    guest.pmctl("delete", "api")


# ---- figures ----


def figures_agree(guest):
    app = start(guest, "figures", APPS + "/grow.py", "--interpreter", "python3", "--", "40", "/run/figures")
    pid, cgroup = guest.property(app, "PID"), guest.cgroup(app)
    touch("/run/figures")
    guest.wait(lambda: os.path.exists("/run/figures.done"), "figures: the app uses memory")

    def agree():
        """The files before and after are the same only if nothing happened between them, and then the figure must be as well."""
        before = guest.read(cgroup + "/memory.current")
        bus, jlist = guest.property(app, "MemoryCurrent"), guest.jlist()["figures"]["monit"]["memory"]
        after = guest.read(cgroup + "/memory.current")
        guest.figures = (before, bus, jlist, after)
        return before == after and (bus, jlist) == (int(before), int(before))

    guest.wait(agree, "figures: MemoryCurrent and jlist are memory.current")
    memory = guest.figures[1]
    guest.check(memory > 40 * MIB, "figures: with what the app uses", guest.figures)
    resident = int(guest.read(f"/proc/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    guest.check(memory != resident, "figures: and not the resident memory of the process", f"both are {memory}")

    def cpu():
        return guest.key(cgroup + "/cpu.stat", "usage_usec") * 1000

    before, bus, after = cpu(), guest.property(app, "CPUUsageNSec"), cpu()
    guest.check(before <= bus <= after, "figures: CPUUsageNSec is of cpu.stat", f"{before} {bus} {after}")
    guest.equal(guest.property(app, "TasksCurrent"), int(guest.read(cgroup + "/pids.current")), "figures: TasksCurrent is pids.current")
    guest.pmctl("delete", "figures")


def cpu_holds(guest):
    quick = start(guest, "quick", "while :; do :; done", "--cpu-quota", "25%")
    cgroup = guest.cgroup(quick)
    (used,), took = guest.cpu_usage([cgroup], 4)
    guest.check(used / took <= 0.25 * 1.1, "cpu_quota: no more than that", used / took)
    guest.check(used / took >= 0.05, "cpu_quota: but some", used / took)
    guest.check((guest.key(cgroup + "/cpu.stat", "nr_throttled") or 0) > 0, "cpu_quota: because it is held back")
    shown = guest.jlist()["quick"]["monit"]["cpu"]
    guest.check(3 <= shown <= 30, "cpu_quota: and jlist shows it", shown)

    guest.pmctl("set-property", "quick", "cpu_quota=infinity")
    # systemd takes the whole controller away that nobody needs any more.
    guest.wait(lambda: not guest.read(cgroup + "/cpu.max")[:1].isdigit(), "cpu_quota: can be taken back")
    guest.pmctl("delete", "quick")


def weights(guest):
    apps = [start(guest, name, "while :; do :; done", "--cpu-weight", weight) for name, weight in (("heavy", "1000"), ("light", "100"))]
    (heavy, light), _ = guest.cpu_usage([guest.cgroup(app) for app in apps], 4)
    guest.check(heavy > 4 * light, "cpu_weight: of two apps that want all, the heavier has far more", f"{heavy} and {light} s")
    guest.pmctl("set-property", "heavy", "cpu_weight=100")
    guest.pmctl("set-property", "light", "cpu_weight=1000")
    (heavy, light), _ = guest.cpu_usage([guest.cgroup(app) for app in apps], 4)
    guest.check(light > 4 * heavy, "cpu_weight: and the other way round when that is changed", f"{heavy} and {light} s")
    guest.pmctl("delete", "heavy", "light")


def memory_holds(guest):
    app = start(guest, "high", APPS + "/grow.py", "--memory-high", "30M", "--interpreter", "python3", "--", "60", "/run/high")
    cgroup = guest.cgroup(app)
    touch("/run/high")
    guest.wait(lambda: (guest.key(cgroup + "/memory.events", "high") or 0) > 0, "memory_high: the kernel slows it down")
    guest.check(guest.status("high") == "online" and guest.property(app, "NRestarts") == 0, "memory_high: but it lives on")
    took = seconds(guest.pmctl, "delete", "high")
    guest.check(took < 4 + 5 * guest.idle_list, "memory_high: and can be stopped", took)

    app = start(guest, "greedy", APPS + "/grow.py", "--max-memory-restart", "50M", "--interpreter", "python3", "--", "80", "/run/greedy", "45")
    pid, cgroup = guest.property(app, "PID"), guest.cgroup(app)
    touch("/run/greedy")
    guest.wait(lambda: guest.property(app, "PID") not in (0, pid), "max_memory_restart: restarts it")
    restarted = guest.property(app, "StartTimestampMonotonic") / 1e6
    grown = float(guest.read("/run/greedy.passed"))
    guest.check(restarted - grown < 1 + guest.idle_list, "max_memory_restart: within a second", restarted - grown)
    guest.matches(guest.property(app, "RestartReason"), r"^memory: .* MiB above 50 MiB$", "max_memory_restart: and says why")
    guest.equal(guest.property(app, "LastOOMKill")[0], 0, "max_memory_restart: without the OOM killer")
    guest.pmctl("delete", "greedy")


def list_time(guest):
    return min(seconds(guest.pmctl, "list") for _ in range(5))


def fork_bomb(guest):
    app = start(guest, "bomb", APPS + "/bomb.sh", "--tasks-max", "60", "--", "/run/bomb")
    cgroup = guest.cgroup(app)
    idle = list_time(guest)
    touch("/run/bomb")
    guest.wait(lambda: (guest.key(cgroup + "/pids.events", "max") or 0) > 10, "tasks_max: stops a fork bomb")
    guest.check(1 < int(guest.read(cgroup + "/pids.peak") or 0) <= 60, "tasks_max: at that many", guest.read(cgroup + "/pids.peak"))
    busy = list_time(guest)
    stop = seconds(guest.pmctl, "stop", "bomb")
    idle = max(idle, list_time(guest))
    # What a process needs to run at all is paid several times: there is one CPU, and half of it is the bomb's.
    guest.check(busy < 0.1 + 20 * idle, "fork bomb: pmd answers a list", f"in {busy} s, {idle} s at rest")
    # The kill timeout is 1.6 s.
    guest.check(stop < 2 + 20 * idle, "fork bomb: stop removes it within 2 s", f"in {stop} s; a list takes {idle} s at rest")
    guest.check(guest.key(cgroup + "/cgroup.events", "populated") in (0, None), "fork bomb: nobody is left")
    guest.equal(guest.status("bomb"), "stopped", "fork bomb: it is stopped")
    guest.pmctl("delete", "bomb")


# ---- the OOM killer ----


def oom_kill(guest, name, who, *options):
    """Starts an app with 40 MiB that wants 80. Its id, pid and cgroup, once it wants them."""
    go = f"/run/{name}"
    app = start(guest, name, APPS + "/hog.py", "--memory-max", "40M", "--interpreter", "python3", "--no-autorestart", *options, "--", who, "80", go)
    pid = guest.property(app, "PID")
    guest.wait(lambda: guest.read(f"/proc/{pid}/task/{pid}/children"), f"{name}: has a child")
    child = int(guest.read(f"/proc/{pid}/task/{pid}/children").split()[0])
    return app, pid, child, guest.cgroup(app), go


def last_oom_kill(guest, app):
    """time, pid, name, limit, peak"""
    return guest.property(app, "LastOOMKill")


def check_evidence(guest, app, victim, what):
    when, pid, name, limit, peak = last_oom_kill(guest, app)
    guest.check(abs(time.time() * 1e6 - when) < 60e6, f"{what}: the time is known", when)
    guest.equal((pid, name), (victim, "python3"), f"{what}: the victim is known")
    guest.equal(limit, 40 * MIB, f"{what}: the limit is known")
    guest.check(39 * MIB <= peak <= 41 * MIB, f"{what}: the peak is known", peak)


def oom_of_child(guest):
    app, pid, child, cgroup, go = oom_kill(guest, "oom-child", "child")
    touch(go)
    guest.wait(lambda: guest.key(cgroup + "/memory.events", "oom_kill") == 1, "child: the kernel kills it")
    seen = time.time()
    guest.wait(lambda: last_oom_kill(guest, app)[0] > 0, "child: pmd notices")
    guest.check(last_oom_kill(guest, app)[0] / 1e6 - seen < 1, "child: within a second", last_oom_kill(guest, app)[0] / 1e6 - seen)
    check_evidence(guest, app, child, "child")
    guest.equal((guest.status("oom-child"), guest.property(app, "PID")), ("online", pid), "child: the app lives on")
    guest.matches(guest.journal("-u", "pmd.service"), rf"Process {app} \(oom-child\) has run out of memory: the kernel killed python3 \(pid {child}\) for lack of memory, "
                  r"at its limit of 40\.0 MiB; the most it used was 40\.\d MiB", "child: the journal tells")
    guest.matches(guest.pmctl("describe", "oom-child"), rf"oom victim +│ python3 \({child}\)", "child: describe tells the victim")
    guest.matches(guest.pmctl("describe", "oom-child"), r"oom limit, peak +│ 40\.0mb, 40\.\dmb", "child: and limit and peak")
    kill = json.loads(guest.pmctl("describe", "oom-child", "--json"))["processes"][0]["last_oom_kill"]
    guest.equal((kill["pid"], kill["name"], kill["limit"]), (child, "python3", 40 * MIB), "child: describe --json tells it to programs")
    guest.matches(guest.pmctl("why", "oom-child"), rf"Out of memory: the kernel killed python3 \(pid {child}\) for lack of memory, at its limit of 40\.0 MiB",
                  "child: why tells")
    guest.pmctl("stop", "oom-child")
    guest.equal(guest.property(app, "LastExit")[2], "signal", "child: that the app is stopped later is no OOM kill")
    guest.pmctl("delete", "oom-child")


def oom_of_leader(guest):
    app, pid, _, _, go = oom_kill(guest, "oom-leader", "leader")
    touch(go)
    guest.wait(lambda: guest.status("oom-leader") == "stopped", "leader: the app ends")
    guest.equal(guest.property(app, "LastExit"), [-1, 9, "oom-kill"], "leader: LastExit says why")
    check_evidence(guest, app, pid, "leader")
    guest.matches(guest.journal("-u", "pmd.service"), rf"Process {app} \(oom-leader\) has ended: the kernel killed python3 \(pid {pid}\) for lack of memory, at its limit",
                  "leader: the journal tells with the end")
    guest.matches(guest.journal("-o", "json", "PM_APP=oom-leader"), r'"PM_OOM_LIMIT":"41943040"', "leader: with the limit in a field of its own")
    guest.matches(guest.pmctl("describe", "oom-leader"), r"last exit +│ signal SIGKILL \(oom-kill\)", "leader: describe tells")
    guest.pmctl("delete", "oom-leader")


def oom_of_group(guest):
    app, pid, child, cgroup, go = oom_kill(guest, "oom-group", "child")
    with open(cgroup + "/memory.oom.group", "w", encoding="utf-8") as f:
        f.write("1")
    touch(go)
    guest.wait(lambda: guest.status("oom-group") == "stopped", "group: the app ends")
    guest.equal(guest.property(app, "LastExit"), [-1, 9, "oom-kill"], "group: LastExit says why, though the leader is not who used it up")
    check_evidence(guest, app, child, "group")
    guest.pmctl("delete", "oom-group")


def sigkill_is_no_oom(guest):
    app = start(guest, "plain-kill", "/bin/sleep", "--memory-max", "40M", "--no-autorestart", "--", "infinity")
    guest.run("kill", "-KILL", str(guest.property(app, "PID")))
    guest.wait(lambda: guest.status("plain-kill") == "stopped", "SIGKILL: the app ends")
    guest.equal(guest.property(app, "LastExit"), [-1, 9, "signal"], "SIGKILL: is no OOM kill")
    guest.pmctl("delete", "plain-kill")


def limits(guest):
    guest.say(f"booted in {guest.read('/proc/uptime')}")
    guest.idle_list = list_time(guest)
    guest.say(f"an idle list takes {guest.idle_list * 1000:.0f} ms")
    for part in (limits_arrive, figures_agree, cpu_holds, weights, memory_holds, fork_bomb, oom_of_child, oom_of_leader, oom_of_group, sigkill_is_no_oom):
        guest.attempt(part)


kernel.main(limits)
