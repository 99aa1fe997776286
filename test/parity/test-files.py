#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Environment, logs, pid files, and ecosystem files. Argument: the build directory."""

import json
import sys

from parity import (PROBE_JS, PROBE_PY, SLEEP, Scenario, child, command, complains, content, counted, exist, is_new, listed, main,
                    remember, remove, until, until_file, until_new, write)

TALK = "echo out $NODE_APP_INSTANCE\necho err $NODE_APP_INSTANCE >&2\nexec sleep 1000\n"
TALKED = [until_file("PM/logs/*out*.log", "out"), until_file("PM/logs/*err*.log", "err")]
ENV = ("V", "W", "NODE_ENV", "name", "pm_id", "NODE_APP_INSTANCE")


def apps(*definitions, **more):
    return json.dumps({"apps": list(definitions), **more})


def eco(name, text, steps, files=None, file="eco.json", listing=True):
    return Scenario("file: " + name, steps, {file: text, "a.sh": SLEEP, "b.sh": SLEEP, "app.py": PROBE_PY, **(files or {})}, listing)


A, B = {"name": "a", "script": "a.sh"}, {"name": "b", "script": "b.sh"}
PROBE = {"name": "app", "script": "app.py"}

SCENARIOS = [
    # The child's environment
    Scenario("the environment of a child", ["start app.py", child()], {"app.py": PROBE_PY}),
    Scenario("the caller's variables", [command("start app.py", env={"A": "1", "B": "a b\"c'd", "EMPTY": ""}), child(variables=("A", "B", "EMPTY"))],
             {"app.py": PROBE_PY}),
    Scenario("a variable of many lines", [command("start app.py", env={"A": "1\n2\n\n3=4"}), child(variables=("A",))], {"app.py": PROBE_PY}),
    Scenario("variables named as fields are", [command("start app.py", env={"status": "x", "pm_id": "77", "name": "y", "args": "z"}),
                                             child(variables=("status", "pm_id", "name", "args"))], {"app.py": PROBE_PY}, listing=False),
    Scenario("numbers of instances", ["start app.py -i 3", child(variables=("NODE_APP_INSTANCE", "pm_id", "instances"), n=3)], {"app.py": PROBE_PY}),
    Scenario("the lowest free number of instance is given", ["start app.py -i 2", child(n=2, variables=()), "delete 0", remove("probe-*.json"),
                                                          "start app.py -f", child(variables=("NODE_APP_INSTANCE", "pm_id"))], {"app.py": PROBE_PY},
             listing=False),
    # Logs
    Scenario("log files", ["start app.sh", *TALKED, content("PM/logs/*")], {"app.sh": TALK}),
    Scenario("log files of instances", ["start app.sh -i 2", until_file("PM/logs/app-out-1.log", "out"), until_file("PM/logs/app-error-0.log", "err"),
                                        until_file("PM/logs/app-out-0.log", "out"), until_file("PM/logs/app-error-1.log", "err"), content("PM/logs/*")],
             {"app.sh": TALK}),
    Scenario("--merge-logs", ["start app.sh -i 2 --merge-logs", until_file("PM/logs/app-out.log", "out", 2), until_file("PM/logs/app-error.log", "err", 2),
                              exist("PM/logs/*")], {"app.sh": TALK}),
    Scenario("log files of a second app of the name", ["start app.sh", "start app.sh -f", exist("PM/logs/*")], {"app.sh": TALK}),
    Scenario("names of log files are made of safe characters", ["start app.sh -n 'a b@c_d.e-f'", *TALKED, exist("PM/logs/*"), exist("PM/pids/*")],
             {"app.sh": TALK}),
    Scenario("-o and -e", ["start app.sh -o $HERE/o.log -e $HERE/e.log", until_file("o.log", "out"), until_file("e.log", "err"), content("?.log"),
                           exist("PM/logs/*")], {"app.sh": TALK}),
    Scenario("-o and -e, relative", ["start app.sh -o o.log -e sub/e.log", until_file("o.log", "out"), until_file("sub/e.log", "err"), content("?.log"),
                                     content("sub/*.log")], {"app.sh": TALK, "sub/x": ""}),
    Scenario("-o with instances", ["start app.sh -i 2 -o $HERE/o.log", until_file("o-0.log", "out"), until_file("o-1.log", "out"), exist("o*")],
             {"app.sh": TALK}),
    Scenario("-o with instances, without .log", ["start app.sh -i 2 -o $HERE/o.txt", until_file("o*.txt", "out"), exist("o*")], {"app.sh": TALK}),
    Scenario("-o in a directory that is not there", ["start app.sh -o $HERE/new/o.log", until_file("new/o.log", "out"), content("new/*")], {"app.sh": TALK}),
    Scenario("-o /dev/null", ["start app.sh -o /dev/null", until_file("PM/logs/app-error.log", "err"), exist("PM/logs/*")], {"app.sh": TALK}),
    Scenario("-l, all in one", ["start app.sh -l $HERE/all.log", until_file("all.log", "out"), until_file("all.log", "err"), exist("*.log")], {"app.sh": TALK}),
    Scenario("logs are appended to", ["start app.sh", *TALKED, "restart app", until_file("PM/logs/app-out.log", "out", 2),
                                      until_file("PM/logs/app-error.log", "err", 2), content("PM/logs/*"), counted()], {"app.sh": TALK}, listing=False),
    Scenario("a line without an end", ["start app.sh", until_file("ran"), content("PM/logs/app-out.log"), "stop app",
                                      until_file("PM/logs/app-out.log", "no end"), content("PM/logs/app-out.log")],
             {"app.sh": "printf 'no end'\nsleep 0.3\necho x > $HERE/ran\nexec sleep 1000\n"}, listing=False),
    Scenario("what is no UTF-8", ["start app.sh", until_file("PM/logs/app-out.log", "end"), content("PM/logs/app-out.log")],
             {"app.sh": "printf '\\377\\n\\000\\033[31mred\\r\\nend\\n'\nexec sleep 1000\n"}, listing=False),
    Scenario("a line of 100 kB", ["start app.py", until_file("PM/logs/app-out.log", "end"), content("PM/logs/app-out.log")],
             {"app.py": "import time\nprint('x' * 100000)\nprint('end')\ntime.sleep(1000)\n"}, listing=False),
    Scenario("--disable-logs", ["start app.sh --disable-logs", until_file("ran"), exist("PM/logs/*")], {"app.sh": "echo out\necho x > $HERE/ran\nexec sleep 1000\n"}),
    Scenario("--log-date-format of a word", ["start app.sh --log-date-format '[at]'", until_file("PM/logs/app-out.log", "out"), content("PM/logs/app-out.log")],
             {"app.sh": TALK}, listing=False),
    Scenario("--log-type json", ["start app.sh --log-type json", until_file("PM/logs/app-out.log", '"message":"out 0'), counted()], {"app.sh": TALK}, listing=False),
    Scenario("flush", ["start app.sh", *TALKED, "flush", content("PM/logs/*")], {"app.sh": TALK}, listing=False),
    Scenario("flush of one", ["start app.sh", "start app.sh -n b", until_file("PM/logs/app-out.log", "out"), until_file("PM/logs/b-out.log", "out"),
                              "flush b", content("PM/logs/*out.log")], {"app.sh": TALK}, listing=False),
    Scenario("reloadLogs", ["start app.sh", "reloadLogs"], {"app.sh": SLEEP}),
    # pid files
    Scenario("pid files", ["start app.sh", exist("PM/pids/*")], {"app.sh": SLEEP}),
    Scenario("pid files of instances", ["start app.sh -i 2", exist("PM/pids/*")], {"app.sh": SLEEP}),
    Scenario("-p", ["start app.sh -p $HERE/my.pid", exist("*.pid"), exist("PM/pids/*"), "stop app", exist("*.pid"), counted()], {"app.sh": SLEEP}, listing=False),
    Scenario("-p, relative", ["start app.sh -p my.pid", exist("*.pid")], {"app.sh": SLEEP}),
    # Ecosystem files: forms
    eco("apps", apps(A, B), ["start eco.json"]),
    eco("an array", json.dumps([A, B]), ["start eco.json"]),
    eco("one object", json.dumps(A), ["start eco.json"]),
    eco("apps is one object", json.dumps({"apps": A}), ["start eco.json"]),
    eco("comments, single quotes, trailing commas", "// c\n{ /* c */ apps: [{ name: 'a', script: 'a.sh', }], }\n", ["start eco.json"]),
    eco("an expression in .json", "{apps: [{name: ['a', 'b'].join('-'), script: 'a.sh'}]}", ["start eco.json"]),
    eco("standard input", "", [command("start -", stdin=apps(A))]),
    eco("stop from standard input", "", [command("start -", stdin=apps(A, B)), command("stop -", stdin=apps(B)), counted()], listing=False),
    eco("YAML", "apps:\n  - name: a\n    script: a.sh\n    args: [x, 'y z']\n    env:\n      V: 1\n", ["start eco.yaml"], file="eco.yaml"),
    eco(".yml", "- name: a\n  script: a.sh\n- name: b\n  script: b.sh\n", ["start eco.yml"], file="eco.yml"),
    eco(".config.js", "module.exports = {apps: [{name: 'a' + 1, script: 'a.sh'}]}\n", ["start eco.config.js"], file="eco.config.js"),
    eco(".config.cjs", "module.exports = {apps: [{name: 'a' + 1, script: 'a.sh'}]}\n", ["start eco.config.cjs"], file="eco.config.cjs"),
    eco("start without an operand", "module.exports = {apps: [{name: 'x', script: 'a.sh'}]}\n", ["start"], file="ecosystem.config.js"),
    eco("a file that is missing", "", [complains("start nope.json")]),
    eco("a file that cannot be read", "{apps: [", [complains("start eco.json")]),
    eco("a .config.js that throws", "throw new Error('no')\n", [complains("start eco.config.js")], file="eco.config.js"),
    eco("no script", apps({"name": "a"}), [complains("start eco.json")]),
    eco("a script that is missing", apps({"name": "a", "script": "nope.sh"}), [complains("start eco.json")]),
    eco("a wrong type", apps({**A, "watch": 5}), [complains("start eco.json")]),
    eco("a wrong value", apps({**A, "max_memory_restart": "12Q"}), [complains("start eco.json")]),
    eco("a wrong exec_mode", apps({**A, "exec_mode": "thread"}), [complains("start eco.json")]),
    eco("a wrong cron", apps({**A, "cron_restart": "61 * * * *"}), [complains("start eco.json")]),
    eco("an unknown key", apps({**A, "colour": "red"}), ["start eco.json"]),
    # … what they say
    eco("args as a string", apps({**PROBE, "args": "-a 'b c' --d=e"}), ["start eco.json", child(variables=())]),
    eco("args as an array", apps({**PROBE, "args": ["-a", "b c", "1"]}), ["start eco.json", child(variables=())]),
    eco("env", apps({**PROBE, "env": {"V": "x", "W": 5}}), ["start eco.json", child(variables=ENV)]),
    eco("env of an object, an array, null, a boolean", apps({**PROBE, "env": {"V": {"a": 1}, "W": [1, 2], "N": None, "T": True, "F": 1.5}}),
        ["start eco.json", child(variables=("V", "W", "N", "T", "F"))]),
    eco("env over the caller's", apps({**PROBE, "env": {"V": "file"}}), [command("start eco.json", env={"V": "shell", "W": "shell"}), child(variables=ENV)]),
    eco("--env", apps({**PROBE, "env": {"V": "base", "W": "base"}, "env_production": {"V": "production"}}), ["start eco.json --env production", child(variables=ENV)]),
    eco("--env that is not there", apps({**PROBE, "env": {"V": "base"}}), ["start eco.json --env nope", child(variables=ENV)]),
    eco("--env of a script is ignored", "", ["start a.sh --env nope"]),
    eco("append_env_to_name", apps({**A, "append_env_to_name": True, "env_test": {"V": "1"}}), ["start eco.json --env test", listed("status")], listing=False),
    eco("instances", apps({**PROBE, "instances": 2}), ["start eco.json", child(variables=ENV, n=2)]),
    eco("instances 1", apps({**A, "instances": 1}), ["start eco.json"]),
    eco("instance_var", apps({**PROBE, "instances": 2, "instance_var": "NUMBER"}), ["start eco.json",
                                                                                 child(variables=("NUMBER", "NODE_APP_INSTANCE", "instance_var"), n=2)]),
    eco("increment_var", apps({**PROBE, "instances": 2, "increment_var": "PORT", "env": {"PORT": 3000}}), ["start eco.json", child(variables=("PORT",), n=2)]),
    eco("port", apps({**PROBE, "port": 8080}), ["start eco.json", child(variables=("PORT",))]),
    eco("cwd", apps({"name": "app", "script": "app.py", "cwd": "sub"}), ["start eco.json", child("sub/probe-*.json", variables=("pm_cwd",)), listed("pm_cwd", "pm_exec_path")],
        {"sub/app.py": PROBE_PY}, listing=False),
    eco("interpreter and its arguments", apps({**PROBE, "interpreter": "python3", "interpreter_args": "-B"}), ["start eco.json", child(variables=())]),
    eco("namespace", apps({**A, "namespace": "ns"}, B), ["start eco.json", "stop ns"]),
    eco("camelCase", apps({**A, "maxRestarts": 4, "killTimeout": 2000, "minUptime": 2000, "restartDelay": 10}), ["start eco.json"]),
    eco("restart rules", apps({**A, "max_restarts": 4, "min_uptime": "5s", "autorestart": False, "stop_exit_codes": [1, 2]}), ["start eco.json"]),
    eco("filter_env: true", apps({**PROBE, "filter_env": True, "env": {"W": "1"}}), [command("start eco.json", env={"V": "1"}), child(variables=ENV)]),
    eco("filter_env as a list", apps({**PROBE, "filter_env": ["SEC"]}), [command("start eco.json", env={"SECRET": "1", "V": "1"}), child(variables=("SECRET", "V"))]),
    eco("log files", apps({**A, "out_file": "o.log", "error_file": "e.log", "merge_logs": True}), ["start eco.json", exist("*.log")]),
    eco("log files by other names", apps({**A, "output": "o.log", "error": "e.log"}), ["start eco.json", exist("*.log")]),
    eco("pid_file", apps({**A, "pid_file": "my.pid"}), ["start eco.json", exist("*.pid")]),
    eco("autostart: false", apps({**A, "autostart": False}, B), ["start eco.json"]),
    eco("no name", apps({"script": "a.sh"}), ["start eco.json"]),
    eco("a name that is a number", apps({**A, "name": 42}), ["start eco.json", listed("status")], listing=False),
    eco("exec and cmd are script", apps({"name": "a", "exec": "a.sh"}, {"name": "b", "cmd": "b.sh"}), ["start eco.json"]),
    eco("a shell command", apps({"name": "a", "script": "echo hi; sleep 1000"}), ["start eco.json", until_file("PM/logs/a-out.log", "hi")]),
    eco("name_prefix", apps({**A, "name_prefix": "pre"}), ["start eco.json", listed("status")], listing=False),
    # … what verbs do with them
    eco("--only", apps(A, B), ["start eco.json --only b"]),
    eco("--only several", apps(A, B, {"name": "c", "script": "a.sh"}), ["start eco.json --only a,c", counted()], listing=False),
    eco("--only what is not there", apps(A, B), ["start eco.json --only nope"]),
    eco("start twice restarts", apps(A), ["start eco.json", remember("a"), "start eco.json", is_new("a"), listed("status", "restart_time")], listing=False),
    eco("start starts what is missing and restarts the rest", apps(A, B), ["start eco.json --only a", "start eco.json", listed("status", "restart_time")], listing=False),
    eco("restart of a file", apps(A, B), ["start eco.json", "restart eco.json", listed("status", "restart_time")], listing=False),
    eco("restart of a file takes the new environment", apps({**PROBE, "env": {"V": "1"}}),
        ["start eco.json", child(variables=ENV), remove("probe-0.json"), write("eco.json", apps({**PROBE, "env": {"V": "2", "W": "3"}})),
         "restart eco.json", child(variables=ENV)], listing=False),
    eco("restart of a file takes new arguments and rules", apps({**PROBE, "args": "a"}),
        ["start eco.json", child(variables=()), remove("probe-0.json"), write("eco.json", apps({**PROBE, "args": "b", "max_restarts": 3, "kill_timeout": 800})),
         "restart eco.json", child(variables=()), listed("args", "max_restarts", "kill_timeout")], listing=False),
    eco("restart of a file starts what is missing", apps(A), ["restart eco.json"]),
    eco("reload of a file", apps(A), ["start eco.json", remember("a"), "reload eco.json", is_new("a"), listed("status", "restart_time")], listing=False),
    eco("stop of a file", apps(A, B), ["start eco.json", "stop eco.json", listed("status")], listing=False),
    eco("stop of a file whose apps are not there", apps(A), ["start b.sh", "stop eco.json", listed("status")], listing=False),
    eco("delete of a file", apps(A), ["start eco.json", "start b.sh", "delete eco.json"]),
    eco("startOrRestart", apps(A, B), ["start eco.json --only a", "startOrRestart eco.json", listed("status", "restart_time")], listing=False),
    eco("startOrReload", apps(A, B), ["start eco.json --only a", "startOrReload eco.json", listed("status", "restart_time")], listing=False),
    eco("restart --env without a file", "", ["start a.sh", complains("restart a --env production")]),
]

sys.exit(main(SCENARIOS))
