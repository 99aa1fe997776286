# SPDX-License-Identifier: MIT
"""What pmctl does differently on purpose: what is seen of it in which scenario, and the row of doc/PM2-DIFFERENCES.md that says why."""

import fnmatch

ABSENT = "(absent)"
ANYTHING = object()


class Difference:
    """why: the first words of a row; path: where, as a pattern; pm2, pmctl: what is seen; sometimes: it hangs on how long something takes,
    or on what the scenario is about."""

    def __init__(self, why, path, pm2=ANYTHING, pmctl=ANYTHING, sometimes=False):
        self.why, self.path, self.pm2, self.pmctl, self.sometimes = why, path, pm2, pmctl, sometimes

    def explains(self, path, pm2, pmctl):
        _, _, path = path.partition(" ")  # the number of the step
        return fnmatch.fnmatchcase(path, self.path) and all(e is ANYTHING or (e == a and type(e) is type(a)) for e,
                                                            a in ((self.pm2, pm2), (self.pmctl, pmctl)))


SIGNAL = "death by a signal shows `exit_code: 0`"
FROM_FILE = "`watch` and `filter_env` are absent from `pm2_env` if a file does not say them"
TYPES = "numbers and booleans of `env` and `args` keep their type in `jlist`"
NODE_PATH = "`exec_interpreter` of `.cjs`, `.mjs` and directories"
DIRECTORY = "`pm_exec_path` of a directory"
SPACES = "a script whose name has a space"
PID_PATH = "the number at the end of a name is cut from its pid file"
SECOND = "another script under a name that is taken"
CWD = "`cwd` stands in `pm2_env` beside `pm_cwd`"
MAX = "`-i max` and `-i 0` of a fork app write all to one log file"
AUTOSTART = "`start` of an app with `autostart: false` leaves it stopped"
NEVER_RAN = "an app that never ran has an uptime and no version"
RENAME = "`restart 0 --name NEW` renames a process"
STOP_CODES = "`--stop-exit-codes 3 4`"
NO_LOGS = "`disable_logs` creates empty log files"
NO_FILTER = "`filter_env: true` of a file does nothing"
PREFIX = "`name_prefix` does nothing"
PID = "`pid` takes a name only"
ENV_NAME = "`--env NAME` without a file"
EXPORTS = "a file that exports a function, a promise or a default is an error"
INSTANCES = "`start FILE -i N` ignores `-i`"
WORKER_ID = "`cluster.worker.id` counts the workers of all apps"
MERGED = "a restart or reload of a cluster sets `merge_logs`"
TWICE = "`exit` is told twice on the bus"
FILE_ENV = "`start`, `restart` and `reload` of a file set its variables only"
UNKNOWN = "`stop a b nope` acts on what stands before"
REJECTION = "in a Node app an unhandled rejection is logged"
NOTHING_DONE = "`sendSignal` to what does not run"
PARTIAL = "an unfinished line is written at once"

# What may differ in any scenario.
EVERYWHERE = [Difference(*d, sometimes=True) for d in (
    (SIGNAL, "* → exit_code", 0, 130),
    (SIGNAL, "* → exit_code", 0, 137),
    ("colours go into a pipe", "* → colors", True, False),
    ("a stop or restart within a second of the start is an unstable restart", "* → unstable_restarts", 1, 0),
    ("`prev_restart_delay`", "* → prev_restart_delay"),
    ("`created_at` of an errored app is null", "* → created_at", None, "milliseconds"),
    ("`force` stays in `pm2_env`", "* → force", True, ABSENT),
    ("`PM2_JSON_PROCESSING`", "* → env → PM2_JSON_PROCESSING", "true", ABSENT),
    (FROM_FILE, "* → filter_env", ABSENT, []),
    (FROM_FILE, "* → watch", ABSENT, False),
    ("`username` among the variables of an app without a user", "child * → env → username", ANYTHING, ABSENT),
    (WORKER_ID, "seen seen → * → id"),
    (MERGED, "list → * → merge_logs", True, ABSENT),
    ("an IPC channel for every script", "child * → env → NODE_CHANNEL_*", ANYTHING, ABSENT),
)]

BY_SCENARIO = {name: [Difference(*d) for d in differences] for name, differences in {
    # start
    "a .cjs script": [(NODE_PATH, "* → exec_interpreter", ANYTHING, "node")],
    "a .mjs script": [(NODE_PATH, "* → exec_interpreter", ANYTHING, "node")],
    "a directory with index.js": [(NODE_PATH, "* → exec_interpreter", ANYTHING, "node"), (DIRECTORY, "* → pm_exec_path")],
    "a directory with main in package.json": [(NODE_PATH, "* → exec_interpreter", ANYTHING, "node"), (DIRECTORY, "* → pm_exec_path")],
    "a file name with a space": [(SPACES, "* → status", "errored", "online"), (SPACES, "* → 0 → *")],
    "a shell command": [(PID_PATH, "* → pm_pid_path", "TOP/pm/pids/echo-hi--sleep-0.pid", "TOP/pm/pids/echo-hi--sleep-1000-0.pid")],
    "another script under the same name": [(SECOND, "start * → succeeds", True, False), (SECOND, "list → 1", ANYTHING, ABSENT)],
    "--cwd": [(CWD, "* → pm2_env → cwd", ANYTHING, ABSENT)],
    "--cwd and an absolute script": [(CWD, "* → pm2_env → cwd", ANYTHING, ABSENT)],
    "-i max of a script": [(MAX, "* → merge_logs", True, ABSENT), (MAX, "* → pm_*_log_path")],
    "-i 0 of a script": [(MAX, "* → merge_logs", True, ABSENT), (MAX, "* → pm_*_log_path")],
    "--stop-exit-codes": [(STOP_CODES, "* → stop_exit_codes", 3, [3])],
    "--no-autostart": [(AUTOSTART, "* → status", "stopped", "online"), (AUTOSTART, "* → pid", 0, "some"),
                       (NEVER_RAN, "* → version", ABSENT, "N/A")],
    "--uid and --gid by number": [("`username` of an app with `--uid`", "* → username", "root", "65534")],
    # life
    "a name that is a script's path too": [("an operand means apps by name and by script", "* → status", "stopped", "online")],
    "stop by a regular expression": [(PID_PATH, "* → pm_pid_path", "TOP/pm/pids/web-0.pid", "TOP/pm/pids/web-1-0.pid")],
    "delete of two that are known and one that is not": [(UNKNOWN, "list → 0", ABSENT), (UNKNOWN, "list → 1", ABSENT)],
    "restart with a new name": [(RENAME, "restart * → succeeds", True, False), (RENAME, "list → 0 → *")],
    "restart --update-env": [("`--update-env` adds and replaces", "* → env → OLD", "1", ABSENT)],
    "--stop-exit-codes stops": [(STOP_CODES, "* → stop_exit_codes", 3, [3])],
    "--stop-exit-codes with several": [(STOP_CODES, "start * → succeeds", False, True)],
    "restart of what waits for a restart": [("`restart` of an app in `waiting restart` fails", "restart * → succeeds", False, True)],
    # files
    "variables named as fields are": [("a variable of the name `args`", "* → env → args", ABSENT, "z")],
    "a line without an end": [(PARTIAL, "content * → *", "no end")],
    "--disable-logs": [(NO_LOGS, "names *"), (NO_LOGS, "* → pm_*_log_path", ANYTHING, "/dev/null")],
    "file: a function": [(EXPORTS, "* → succeeds", False, True), (EXPORTS, "list → 0", ABSENT)],
    "file: a promise": [(EXPORTS, "* → succeeds", False, True), (EXPORTS, "list → 0", ABSENT)],
    "file: .config.mjs": [(EXPORTS, "* → succeeds", False, True), (EXPORTS, "list → 0", ABSENT)],
    "file: -i goes over the file": [(INSTANCES, "list → 0 → instances", 1, 2), (INSTANCES, "list → 1", ABSENT)],
    "file: YAML": [(TYPES, "* → env → V", 1, "1")],
    "file: env": [(TYPES, "* → env → W", 5, "5")],
    "file: env of an object, an array, null, a boolean": [(TYPES, "* → env → T", True, "true"), (TYPES, "* → env → F", 1.5, "1.5")],
    "file: --env": [("`env_NAME` of a file stands in `pm2_env`", "* → env_production", ANYTHING, ABSENT)],
    "file: --env of a script is ignored": [(ENV_NAME, "* → env → [0-9]", ANYTHING, ABSENT)],
    "file: args of numbers": [(TYPES, "* → args", ["--port", 3000], ["--port", "3000"])],
    "file: a restart and the caller's environment": [(FILE_ENV, "child * → W", "1", "2"), (FILE_ENV, "child * → W", "1", "3")],
    "file: increment_var": [(TYPES, "list → 0 → env → PORT", 3000, "3000"), (TYPES, "list → 1 → env → PORT", 3001, "3001")],
    "file: port": [(TYPES, "* → env → PORT", 8080, "8080")],
    "file: filter_env: true": [(NO_FILTER, "child * → env → V", "1", ABSENT), (NO_FILTER, "list → * → env → *", ANYTHING, ABSENT)],
    "file: autostart: false": [(NEVER_RAN, "* → pm_uptime", "milliseconds", 0), (NEVER_RAN, "* → version", ABSENT, "N/A")],
    "file: name_prefix": [(PREFIX, "* → name", "a", "pre:a")],
    # lists
    "jlist of nothing": [("`jlist` and `prettylist` end without a newline", "* → stdout", "[]", "[]\n")],
    "prettylist of nothing": [("`jlist` and `prettylist` end without a newline", "* → stdout", "[]", "[]\n")],
    "pid of an unknown name": [(PID, "* → stdout", "\n", "")],
    "pid": [(PID, "prints pid 0 → stdout", False, True)],
    "--min-uptime is no option": [("some attributes have no option", "* → succeeds", False, True),
                                  ("some attributes have no option", "* → tells", True, False),
                                  ("some attributes have no option", "list → 0", ABSENT)],
    "logs --raw --nostream": [("`logs --raw --nostream` prints headings", "* → stdout", ANYTHING, "two\nthree\n")],
    "flush of an unknown name": [(NOTHING_DONE, "flush * → succeeds", True, False)],
    "reset of an unknown number": [(NOTHING_DONE, "reset * → succeeds", True, False)],
    "a signal to what is stopped": [(NOTHING_DONE, "sendSignal * → succeeds", True, False)],
    # cluster
    "an unhandled rejection": [(REJECTION, "* → status", "online", "errored")],
    "the bus of a reload": [(TWICE, "heard → exit manually False of _old_*", 2, 1)],
    "save": [("`save` writes `dump.pm2`", "names *", ["TOP/pm/dump.pm2"], [])],
}.items()}
