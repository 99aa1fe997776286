# SPDX-License-Identifier: MIT
"""Holds the #include lines against the layers of doc/ARCHITECTURE.md, and the sources against the rules that a grep can check."""
import glob
import os
import re

from checks import ROOT, check, done

MECHANISMS = {
    "cluster", "cluster-balance", "cluster-internal", "cluster-serialize", "cluster-socket", "credentials", "cron", "definition-file", "fd-closer", "fd-store", "file-user", "foreground", "input-pipe", "keeper", "keeper-exits", "keeper-internal", "keeper-main", "keeper-store", "log-compress", "log-counter",
    "log-format", "log-path", "log-relay", "log-ring", "log-rotate", "log-sink-file", "log-sink-journal", "log-stream", "log-tap", "log-thread",
    "node-channel", "notify-socket", "oom-log", "process-spawn", "raw-syscall", "requester", "spawn-child", "spawn-clone", "spawn-memory", "spawn-restrict", "spawner", "state-file", "state-slots", "store", "store-writer", "systemd-client", "systemd-client-internal", "systemd-leftover", "systemd-limits",
    "systemd-scope", "systemd-watch", "watch", "watch-internal", "watch-scan",
}
OBJECTS = {
    "app", "app-action", "app-sockets", "app-triggers", "event-bus", "event-log", "event-packet", "job", "monitor", "process", "process-adopt", "process-birth", "process-channel", "process-env", "process-fd-store", "process-files", "process-history", "process-limits", "process-notify", "process-oom", "process-outside", "process-argv", "process-reload", "process-input", "process-log", "process-report", "process-run", "process-run-internal",
    "process-definition", "process-serialize", "process-serialize-internal", "runner", "runner-cgroup", "runner-plain", "runner-scope",
}
FACE = {
    "app-bus", "bus-face", "bus-peer", "bus-polkit", "bus-queue", "bus-request", "manager-bus", "manager-definition-bus", "manager-event-bus", "manager-log-bus", "manager-message-bus",
    "manager-property-bus", "manager-save-bus", "process-bus", "process-list-bus",
}
COMPOSERS = {"pmd", "manager", "manager-boot", "manager-runtime"}


def sources(*patterns):
    return sorted(f for p in patterns for f in glob.glob(os.path.join(ROOT, p)))


def includes(path):
    return re.findall(r'^#include "([^"]+)"', open(path).read(), re.M)


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def layer_faults(paths, allowed):
    return [f"{os.path.relpath(p, ROOT)} includes {i}" for p in paths for i in includes(p) if not allowed(p, i)]


def pmd_files(stems):
    return [p for p in sources("src/pmd/*.[ch]") if stem(p) in stems]


check("src/shared includes src/shared only", layer_faults(sources("src/shared/*.[ch]"), lambda p, i: i.startswith("shared/")))
check("libpmd includes shared and itself only",
      layer_faults(sources("src/libpmd/*.[ch]"), lambda p, i: i.startswith(("shared/", "libpmd/")) or i == "config.h"))
check("pmctl includes shared, libpmd and itself only",
      layer_faults(sources("src/pmctl/*.[ch]"), lambda p, i: i.startswith(("shared/", "libpmd/", "pmctl/")) or i == "config.h"))
check("mechanisms do not know the objects",
      layer_faults(pmd_files(MECHANISMS), lambda p, i: i.startswith("shared/") or i in ("pmd/pmd-forward.h", "config.h") or stem(i) in MECHANISMS))
check("objects do not know the bus", layer_faults(pmd_files(OBJECTS), lambda p, i: stem(i) not in FACE))
check("every file of pmd has its layer",
      [os.path.relpath(p, ROOT) for p in sources("src/pmd/*.[ch]")
       if stem(p) not in MECHANISMS | OBJECTS | FACE | COMPOSERS | {"pmd-forward", "manager-targets", "manager-definition", "manager-done", "manager-outside", "manager-readopt", "manager-request", "manager-save", "manager-settings", "manager-property",
                                                                   "request-journal", "request-journal-bus", "request-journal-file", "request-journal-internal"}])
check("no synchronous bus call and no sleep in pmd",
      [f"{os.path.relpath(p, ROOT)}: {line.strip()}" for p in sources("src/pmd/*.c")
       for line in open(p) if re.search(r"\bsd_bus_call(_method)?\(|\b(u|nano)?sleep\(|clock_nanosleep", line)])
check("no file is longer than 1000 lines",
      [os.path.relpath(p, ROOT) for p in sources("src/*/*.[ch]") if sum(1 for _ in open(p)) > 1000])
check("src/shared logs at debug only",
      [f"{os.path.relpath(p, ROOT)}: {line.strip()}" for p in sources("src/shared/*.c") if stem(p) != "log"
       for line in open(p) if re.search(r"\blog_(info|notice|warning|error)", line)])
raise SystemExit(done())
