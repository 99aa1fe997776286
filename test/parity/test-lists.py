#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is printed: lists, describe, pid, id, env; silence and colours; errors; save and resurrect; cron and watch. Argument: the build directory."""

import sys

from parity import (PROBE_PY, SLEEP, Scenario, child, columns, command, complains, exist, is_new, json_of, listed, main, prints, remember,
                    rows, says, step, strip_colors, until, until_file, until_new, write)

ONE, TWO = {"app.sh": SLEEP}, {"a.sh": SLEEP, "b.sh": SLEEP}
SAVED = ("status", "restart_time", "NODE_APP_INSTANCE", "pm_exec_path", "args", "kill_timeout", "namespace")


def variables(line, *names):
    """What it prints as NAME: value."""

    @step(line)
    def run(side):
        found = dict(text.split(": ", 1) for text in strip_colors(side.run(line.split()).stdout).splitlines() if ": " in text)
        return {name: found.get(name, "(absent)") for name in names}

    return run


SCENARIOS = [
    # Lists
    Scenario("jlist of nothing", [says("jlist")]),
    Scenario("prettylist of nothing", [says("prettylist")]),
    Scenario("the table of nothing", [columns()]),
    Scenario("the table", ["start a.sh b.sh", columns()], TWO),
    Scenario("other names of list", [prints("ls"), prints("l"), prints("ps"), prints("status"), prints("list")]),
    Scenario("jlist is JSON", ["start app.sh", json_of("jlist")], ONE),
    Scenario("PM2_SILENT silences the table and no jlist", ["start app.sh", prints("ls", env={"PM2_SILENT": "true"}),
                                                            prints("jlist", env={"PM2_SILENT": "true"}),
                                                           prints("prettylist", env={"PM2_SILENT": "true"})], ONE),
    Scenario("PM2_SILENT silences actions", [command("start app.sh", stdout=True, env={"PM2_SILENT": "true"}),
                                             command("stop app", stdout=True, env={"PM2_SILENT": "true"}),
                                            command("delete app", stdout=True, env={"PM2_SILENT": "true"})], ONE),
    Scenario("PM2_SILENT and errors", [prints("stop nope", env={"PM2_SILENT": "true"})]),
    Scenario("PM2_PROGRAMMATIC silences", [prints("start app.sh", env={"PM2_PROGRAMMATIC": "true"}),
                                           prints("stop app", env={"PM2_PROGRAMMATIC": "true"}),
                                          prints("jlist", env={"PM2_PROGRAMMATIC": "true"})], ONE),
    Scenario("-s silences", [prints("start app.sh -s"), prints("stop app -s"), prints("ls -s"), prints("jlist -s")], ONE),
    Scenario("--silent", [prints("--silent start app.sh"), prints("list --silent")], ONE),
    Scenario("NO_COLOR", ["start app.sh", prints("ls", env={"NO_COLOR": "1"}), prints("describe app", env={"NO_COLOR": "1"})], ONE),
    Scenario("--no-color", ["start app.sh", prints("ls --no-color"), prints("describe app --no-color")], ONE),
    Scenario("TERM=dumb", ["start app.sh", prints("ls", env={"TERM": "dumb", "PM2_HOME": "$PM"})], ONE, listing=False),
    Scenario("mini list", ["start app.sh", prints("ls -m"), prints("list --mini-list")], ONE),
    Scenario("ping", [says("ping")]),
    Scenario("version", [prints("-v"), prints("--version"), prints("-V")]),
    Scenario("help", [prints("-h"), prints("--help"), prints("start --help")]),
    # pid, id, env, describe
    Scenario("id", ["start app.sh -i 2", "start app.sh -n other", says("id app"), says("id other")], ONE),
    Scenario("id of an unknown name", [says("id nope")]),
    Scenario("pid of an unknown name", [says("pid nope")]),
    Scenario("pid when it is stopped", ["start app.sh", "stop app", says("pid app")], ONE, listing=False),
    Scenario("pid", ["start app.sh", prints("pid app"), prints("pid"), prints("pid 0")], ONE),
    Scenario("env of an unknown number", [complains("env 9")]),
    Scenario("env", [command("start app.sh", env={"V": "x"}), prints("env 0")], ONE),
    Scenario("env has what identifies the process", ["start app.sh -i 2 --namespace ns", variables("env 1", "NODE_APP_INSTANCE", "namespace", "version")], ONE),
    Scenario("describe of an unknown name", [command("describe nope"), command("show nope"), command("info 9"), command("desc nope")]),
    Scenario("describe", ["start app.sh -n web -- --port 3",
                          rows("describe web", "status", "name", "namespace", "version", "restarts", "script path", "script args",
                               "error log path", "out log path",
                               "pid path", "interpreter", "interpreter args", "script id", "exec cwd", "exec mode", "watch & reload",
                               "unstable restarts")], ONE),
    Scenario("describe by number", ["start app.sh", rows("describe 0", "status", "name", "script id")], ONE),
    Scenario("describe of what is stopped", ["start app.sh", "stop app",
                                             rows("describe app", "status", "restarts", "uptime", "script args")], ONE, listing=False),
    Scenario("describe of limits", ["start app.sh --max-memory-restart 100M -c '0 0 1 1 *'",
                                    rows("describe app", "max memory restart", "cron restart")], ONE),
    Scenario("the version comes from package.json", ["start sub/app.sh", rows("describe app", "version")],
             {"sub/app.sh": SLEEP, "package.json": '{"version": "3.2.1"}'}),
    Scenario("a restart looks at the version again", ["start sub/app.sh -i 2", write("package.json", '{"version": "3.2.2"}'), "restart 0", listed("version"),
                                                      "restart app", listed("version", "restart_time")],
             {"sub/app.sh": SLEEP, "package.json": '{"version": "3.2.1"}'}, listing=False),
    Scenario("other names of describe", ["start app.sh", prints("show app"), prints("info app"), prints("desc app")], ONE),
    # Errors
    Scenario("no verb", [command("")]),
    Scenario("an unknown verb", [complains("frobnicate")]),
    Scenario("an unknown option", [complains("list --frobnicate")]),
    Scenario("a verb without its operand", [complains("stop"), complains("restart"), complains("delete"), complains("describe"),
                                            complains("reload"), complains("id"),
                                           complains("env"), complains("reset"), complains("scale app"), complains("sendSignal")]),
    Scenario("an option without its value", [complains("start app.sh --name")], ONE),
    Scenario("--min-uptime is no option", [complains("start app.sh --min-uptime 100")], ONE),
    Scenario("a bad --max-memory-restart", [complains("start app.sh --max-memory-restart 12Q")], ONE),
    Scenario("a bad cron", [complains("start app.sh --cron-restart '61 * * * *'")], ONE),
    Scenario("an unknown user", [complains("start app.sh --uid nosuchuser")], ONE),
    Scenario("a name with odd characters", ["start app.sh -n 'été €'", "stop 'été €'", listed("status")], ONE, listing=False),
    Scenario("logs", ["start app.sh", until_file("PM/logs/app-out.log", "hello"), prints("logs --nostream"),
                      prints("logs app --nostream --lines 1"),
                      prints("logs nope --nostream"), prints("log app --nostream --raw")], {"app.sh": "echo hello\nexec sleep 1000\n"}),
    Scenario("logs --raw --nostream", ["start app.sh", until_file("PM/logs/app-out.log", "three"),
                                       says("logs app --raw --nostream --lines 2 --out")],
             {"app.sh": "echo one\necho two\necho three\nexec sleep 1000\n"}, listing=False),
    # Save
    Scenario("save", ["start a.sh b.sh", "save", exist("PM/dump.pm2")], TWO),
    Scenario("dump is save", ["start a.sh", "dump"], TWO),
    Scenario("save of nothing", ["save"]),
    Scenario("resurrect", ["start a.sh -k 900 -- x", "start b.sh --namespace ns -i 2", "save", "delete all", "resurrect", listed(*SAVED)],
             TWO, listing=False),
    Scenario("resurrect keeps what is stopped", ["start a.sh b.sh", "stop b", "save", "delete all", "resurrect", listed("status")], TWO,
             listing=False),
    Scenario("resurrect starts what was errored", ["start app.sh --max-restarts 1", until("app", status="errored"), "save", "delete all",
                                                   write("app.sh", SLEEP),
                                                  "resurrect", until("app", status="online"), listed("status")], {"app.sh": "exit 1\n"},
             listing=False),
    Scenario("resurrect leaves what is there", ["start a.sh b.sh", "save", "delete a", remember("b"), "resurrect", is_new("b"),
                                                listed("status", "restart_time")],
             TWO, listing=False),
    Scenario("resurrect of a name that is there with fewer instances",
             ["start a.sh -i 2", "save", "delete 0", "resurrect", listed("status")], TWO, listing=False),
    Scenario("resurrect twice", ["start a.sh", "save", "delete all", "resurrect", "resurrect", listed("status", "restart_time")], TWO,
             listing=False),
    Scenario("resurrect brings the environment back", [command("start app.py", env={"V": "then"}), "save", "delete all",
                                                       command("resurrect", env={"V": "now"}),
                                                      child(variables=("V",))], {"app.py": PROBE_PY}, listing=False),
    Scenario("resurrect without a saved list", ["resurrect"]),
    Scenario("numbers after resurrect", ["start a.sh b.sh", "start a.sh -n c", "delete a", "save", "delete all", "resurrect",
                                         listed("status")], TWO, listing=False),
    Scenario("cleardump", ["start a.sh", "save", "cleardump", "delete all", "resurrect"], TWO),
    Scenario("save of fewer, then resurrect", ["start a.sh b.sh", "save", "delete a", "save", "delete all", "resurrect", listed("status")],
             TWO, listing=False),
    # Settings
    Scenario("set and get", ["set web:key value", prints("get web:key"), "unset web:key", command("get web:key")]),
    Scenario("get of what is not set", [command("get nope:key")]),
    Scenario("ecosystem writes a sample", ["ecosystem", exist("*.js")]),
    Scenario("init simple writes a sample", ["init simple", exist("*.js")]),
    # Cron and watch
    # What pm2 starts by cron while it deletes the app stays.
    Scenario("cron restarts", ["start app.sh -c '* * * * * *'", remember("app"), until_new("app"), "stop app", "delete app"], ONE, listing=False),
    Scenario("cron starts what ends by itself", ["start app.sh --no-autorestart -c '* * * * * *'", until_file("runs", "run", 3),
                                                 listed("autorestart", "cron_restart")],
             {"app.sh": "echo run >> $HERE/runs\n"}, listing=False),
    Scenario("watch restarts", ["start app.sh --watch", listed("watch", "status"), remember("app"), write("new", "x"), until_new("app")],
             ONE, listing=False),
    Scenario("watch of one path", ["start app.sh --watch sub", listed("watch"), remember("app"), write("sub/new", "x"), until_new("app"), listed("status")],
             {"app.sh": SLEEP, "sub/x": ""}, listing=False),
    Scenario("watch restarts for what is changed in a new directory",
             ["start app.sh --watch", remember("app"), write("d/e/f", "x"), until_new("app"), listed("status")],
             ONE, listing=False),
    Scenario("--ignore-watch", ["start app.sh --watch --ignore-watch='ignored'", listed("watch", "ignore_watch"), remember("app"),
                                write("ignored/x", "x"),
                                is_new("app")], {"app.sh": SLEEP, "ignored/y": ""}, listing=False),
    Scenario("stop ends the watch", ["start app.sh --watch", "stop app", listed("watch", "status")], ONE, listing=False),
    Scenario("restart --watch switches it", ["start app.sh", "restart app --watch", listed("watch", "status")], ONE, listing=False),
]

sys.exit(main(SCENARIOS))
