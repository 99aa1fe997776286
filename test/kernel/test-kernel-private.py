# SPDX-License-Identifier: MIT
"""A pmd that asks no service manager, in a cgroup that was given to it: limits, figures, the OOM killer, and its own death."""

import json
import os

import kernel

APPS = kernel.GUEST_DIR + "/apps"
HOME = "/root/private"


def describe(guest, name):
    return json.loads(guest.pmctl("describe", name, "--json"))["processes"][0]


def cgroup_of(guest, pid):
    return kernel.CGROUP_ROOT + guest.read(f"/proc/{pid}/cgroup").partition("::")[2]


def private(guest):
    status, output = guest.run("systemd-run", "--unit=private", "-p", "Delegate=yes", "-p", "KillMode=mixed", "/usr/bin/pmd", f"--private={HOME}", "--runner=cgroup",
                               "--keeper")
    guest.equal(status, 0, output.strip())
    guest.environment["PMD_HOME"] = HOME
    guest.wait(lambda: guest.run("pmctl", "ping")[0] == 0, "it serves")
    for part in (limits, weights, killed, oom):
        guest.attempt(part)
    guest.pmctl("kill")
    guest.run("systemctl", "stop", "private.service")
    guest.equal(guest.run("pgrep", "-cx", "sleep")[1].strip(), "0", "nobody is left")
    if guest.failed:
        guest.say(guest.journal("-u", "private.service"))


def limits(guest):
    guest.pmctl("start", "/bin/sleep", "--name", "api", "--memory-max", "50M", "--cpu-quota", "20%", "--tasks-max", "30", "--", "infinity")
    cgroup = cgroup_of(guest, describe(guest, "api")["pid"])
    guest.matches(cgroup, r"/private\.service/pmd-[^/]*/pm-api-0-1\.scope$", "the app has a cgroup below pmd's")
    guest.equal([guest.read(f"{cgroup}/{f}") for f in ("memory.max", "cpu.max", "pids.max")], ["52428800", "20000 100000", "30"], "with its limits")
    guest.check("has no effect" not in guest.pmctl("describe", "api").replace("io_weight", ""), "which are there")
    guest.pmctl("set-property", "api", "memory_max=60M")
    guest.equal(guest.read(cgroup + "/memory.max"), "62914560", "and can be changed")
    guest.wait(lambda: guest.read(cgroup + "/memory.current") == str(describe(guest, "api")["memory_current"]), "figures are the controller's")


def weights(guest):
    for name, weight in (("heavy", "1000"), ("light", "100")):
        guest.pmctl("start", "while :; do :; done", "--name", name, "--cpu-weight", weight)
    (heavy, light), _ = guest.cpu_usage([cgroup_of(guest, describe(guest, name)["pid"]) for name in ("heavy", "light")], 4)
    guest.check(heavy > 4 * light, "cpu_weight: of two that want all, the heavier has far more", f"{heavy} and {light} s")
    guest.pmctl("delete", "heavy", "light")


def killed(guest):
    before = describe(guest, "api")
    pmd = guest.run("pgrep", "-x", "pmd")[1].split()
    guest.equal(len(pmd), 1, "there is one pmd")
    os.kill(int(pmd[0]), 9)
    guest.wait(lambda: guest.run("pgrep", "-x", "pmd")[1].split() not in ([], pmd), "the keeper starts another")
    guest.wait(lambda: guest.run("pmctl", "ping")[0] == 0, "which serves")
    guest.equal(describe(guest, "api")["pid"], before["pid"], "the app has the same pid")
    guest.pmctl("start", "/bin/sleep", "--name", "later", "--memory-max", "50M", "--", "infinity")
    guest.equal(guest.read(cgroup_of(guest, describe(guest, "later")["pid"]) + "/memory.max"), "52428800", "and an app of the new pmd has its limit")


def oom(guest):
    for who in ("child", "leader"):
        name, go = f"oom-{who}", f"/run/{who}"
        guest.pmctl("start", APPS + "/hog.py", "--name", name, "--interpreter", "python3", "--no-autorestart", "--memory-max", "40M", "--", who, "80", go)
        pid = describe(guest, name)["pid"]
        guest.wait(lambda: guest.read(f"/proc/{pid}/task/{pid}/children"), f"{who}: has a child")
        child = int(guest.read(f"/proc/{pid}/task/{pid}/children").split()[0])
        open(go, "w", encoding="utf-8").close()
        victim = child if who == "child" else pid
        guest.wait(lambda: f"python3 ({victim})" in guest.pmctl("describe", name), f"{who}: describe tells the victim")
        guest.matches(guest.pmctl("describe", name), r"oom limit, peak +│ 40\.0mb, 40\.\dmb", f"{who}: and limit and peak")
        if who == "leader":
            guest.wait(lambda: describe(guest, name)["status"] == "stopped", "leader: it ends")
            guest.equal(describe(guest, name)["last_exit"], {"code": -1, "signal": 9, "reason": "oom-kill"}, "leader: for that reason")
        else:
            guest.equal(describe(guest, name)["pid"], pid, "child: the app lives on")


kernel.main(private)
