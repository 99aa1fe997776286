# SPDX-License-Identifier: MIT
"""Start, save, power off, boot, and all is back; and pmd killed, under a kernel and a systemd that are the machine's."""

import os

import kernel

APPS = kernel.GUEST_DIR + "/apps"


def summary(guest):
    return sorted((p["pm_id"], p["name"], p["pm2_env"]["status"], p["pm2_env"]["restart_time"]) for p in guest.jlist().values())


EXPECTED = [(0, "web", "online", 0), (1, "worker", "online", 0), (2, "idle", "stopped", 0)]


def pids(guest):
    return {p["name"]: p["pid"] for p in guest.jlist().values()}


def pmd_pid(guest):
    return int(guest.run("systemctl", "show", "-p", "MainPID", "--value", "pmd.service")[1])


def first_boot(guest):
    guest.pmctl("start", "sleep 1000", "--name", "web", "--memory-max", "50M")
    guest.pmctl("start", "sleep 1000", "--name", "worker")
    guest.pmctl("start", "sleep 1000", "--name", "idle")
    guest.pmctl("stop", "idle")
    guest.pmctl("save")
    guest.pmctl("startup", "systemd")
    guest.equal(summary(guest), EXPECTED, "two apps run and one is stopped")
    guest.attempt(kill)
    guest.attempt(kill_while_out_of_memory)


def kill(guest):
    before, old = pids(guest), pmd_pid(guest)
    guest.run("kill", "-KILL", str(old))
    guest.wait(lambda: pmd_pid(guest) not in (0, old), "kill -9: systemd starts another pmd")
    guest.equal(pids(guest), before, "kill -9: the apps have the same pids")
    guest.equal(summary(guest), EXPECTED, "kill -9: and are as they were")
    cgroup = guest.cgroup(0)
    guest.equal(guest.property(0, "MemoryCurrent") > 0, True, "kill -9: figures go on")
    guest.equal(guest.read(cgroup + "/cgroup.procs"), str(before["web"]), "kill -9: each in its cgroup")
    guest.pmctl("set-property", "web", "memory_max=60M")
    guest.wait(lambda: guest.read(cgroup + "/memory.max") == "62914560", "kill -9: whose limits still change")


def kill_while_out_of_memory(guest):
    """What the kernel does while there is no pmd is told by the next one."""
    guest.pmctl("start", APPS + "/hog.py", "--name", "hog", "--interpreter", "python3", "--memory-max", "40M", "--", "child", "80", "/run/hog")
    app = guest.jlist()["hog"]["pm_id"]
    leader, cgroup = guest.property(app, "PID"), guest.cgroup(app)
    guest.wait(lambda: guest.read(f"/proc/{leader}/task/{leader}/children"), "OOM meanwhile: the app has a child")
    child = int(guest.read(f"/proc/{leader}/task/{leader}/children").split()[0])
    old = pmd_pid(guest)
    os.kill(old, 19)
    open("/run/hog", "w", encoding="utf-8").close()
    guest.wait(lambda: guest.key(cgroup + "/memory.events", "oom_kill") == 1, "OOM meanwhile: the kernel kills the child")
    os.kill(old, 9)
    guest.wait(lambda: pmd_pid(guest) not in (0, old), "OOM meanwhile: systemd starts another pmd")
    guest.equal(guest.property(app, "LastOOMKill")[1:4], [child, "python3", 40 << 20], "OOM meanwhile: which tells of it")
    guest.equal(guest.property(app, "PID"), leader, "OOM meanwhile: the app lives on")
    told = guest.property(app, "LastOOMKill")
    old = pmd_pid(guest)
    os.kill(old, 9)
    guest.wait(lambda: pmd_pid(guest) not in (0, old), "OOM meanwhile: and another")
    guest.equal(guest.property(app, "LastOOMKill"), told, "OOM meanwhile: which knows it still")
    lines = [line for line in guest.journal("-u", "pmd.service").splitlines() if f"Process {app} (hog) has run out of memory" in line]
    guest.equal(len(lines), 1, "OOM meanwhile: it is told once")
    guest.pmctl("delete", "hog")


def second_boot(guest):
    guest.wait(lambda: guest.run("systemctl", "is-active", "pmd.service")[1].strip() == "active", "pmd is started at boot")
    guest.wait(lambda: summary(guest) == EXPECTED, "all are back, and what was stopped is stopped")
    guest.equal(summary(guest), EXPECTED, "with their ids")
    guest.equal(guest.read(guest.cgroup(0) + "/memory.max"), "52428800", "with their limits, as they were saved")
    guest.wait(lambda: guest.run("pgrep", "-cx", "sleep")[1].strip() != "1", "both run by now")
    guest.equal(guest.run("pgrep", "-cx", "sleep")[1].strip(), "2", "one of each")


kernel.main(first_boot, second_boot)
