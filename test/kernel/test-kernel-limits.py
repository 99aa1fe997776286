# SPDX-License-Identifier: MIT
"""Figures, limits and the OOM killer, where there are controllers."""

import kernel


def limits(guest):
    guest.say(f"booted in {guest.read('/proc/uptime')}")
    guest.equal(guest.read(kernel.CGROUP_ROOT + "/cgroup.controllers"), "cpu io memory pids", "the kernel has the controllers")
    guest.pmctl("start", "/bin/sleep", "--name", "api", "--memory-max", "600M", "--memory-high", "500M", "--cpu-quota", "150%", "--cpu-weight", "50",
                "--tasks-max", "70", "--", "infinity")
    cgroup = guest.cgroup(0)
    guest.equal(guest.read(cgroup + "/memory.max"), "629145600", "memory_max is in memory.max")
    guest.equal(guest.read(cgroup + "/memory.high"), "524288000", "memory_high is in memory.high")
    guest.equal(guest.read(cgroup + "/cpu.max"), "150000 100000", "cpu_quota is in cpu.max")
    guest.equal(guest.read(cgroup + "/cpu.weight"), "50", "cpu_weight is in cpu.weight")
    guest.equal(guest.read(cgroup + "/pids.max"), "70", "tasks_max is in pids.max")


kernel.main(limits)
