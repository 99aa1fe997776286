#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The deaths of pmd, of the bus, of the journal and of logind, and an operator who stops a scope, under a real systemd.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

APPS=/run/test/apps

main_pid() {
        enter systemctl show -p MainPID --value pmd.service
}

pid_of() { # APP
        run pmctl pid "$1"
}

status_of() { # APP
        run pmctl jlist | python3 -c 'import json, sys; print(*[p["pm2_env"]["status"] for p in json.load(sys.stdin) if p["name"] == sys.argv[1]])' "$1"
}

another_pmd() { # PID
        local pid
        pid=$(main_pid)
        [ "${pid:-0}" != 0 ] && [ "$pid" != "$1" ]
}

owner_pid() {
        enter busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus GetConnectionUnixProcessID s org.pmd1
}

name_is_owned() {
        [ "$(owner_pid)" = "u $(main_pid)" ]
}

container_boot
check "an app is started" run pmctl start $APPS/sleeper.sh --name api
app=$(pid_of api)

check_output "pmd is to be protected from the OOM killer" '^OOMScoreAdjust=-900$' enter systemctl show -p OOMScoreAdjust pmd.service
check_equal "its apps are not" 0 "$(enter cat "/proc/$app/oom_score_adj")"

# ---- pmd is killed ----

failed=0
for _ in $(seq 1 12); do
        before=$(main_pid)
        enter kill -KILL "$before"
        enter pmctl ping >/dev/null || failed=$((failed + 1))
        eventually another_pmd "$before" || failed=$((failed + 1))
done
check_equal "calls succeed after each of 12 times SIGKILL" 0 "$failed"
check_equal "the app runs on" "$app" "$(pid_of api)"
check_output "not restarted" '^u 0$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process NRestarts

before=$(main_pid)
check_output "pmctl update" 'in version' run pmctl update
check "starts another pmd" another_pmd "$before"
check_equal "the app runs on" "$app" "$(pid_of api)"
check_output "nothing has failed" '^0 loaded units' enter systemctl list-units --failed

# ---- an app ends meanwhile ----

before=$(main_pid)
enter kill -KILL "$before" "$app"
check "what ends with pmd is started again" eventually_output '^online$' status_of api
check_output "once, and why is known" '^\(iis\) -1 9 "signal"$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process LastExit
check_output "and counted" '^u 1$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process NRestarts

# ---- an operator stops a scope ----

unit=$(run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Unit | cut -d'"' -f2)
check "systemctl stop of the scope" enter systemctl stop "$unit"
check "stops the app" eventually_output '^stopped$' status_of api
sleep 1
check_equal "for good" stopped "$(status_of api)"
check_output "why is told" 'stopped by the service manager' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process RestartReason
check "it can be started again" run pmctl start api
unit=$(run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Unit | cut -d'"' -f2)
enter systemctl kill -s KILL "$unit"
check "a scope that is killed is a crash" eventually_output '^online$' status_of api
check_differ "in another scope" "$unit" "$(run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Unit | cut -d'"' -f2)"
app=$(pid_of api)

# What does not listen is ended by SIGKILL, as a crash may be; each may come before or after what pmd is told.
check "an app that ignores its signal is started" run pmctl start "trap '' INT TERM; while :; do sleep 0.1; done" --name deaf --kill-timeout 1000
unit=$(enter systemctl list-units --no-legend --plain 'pm-deaf-*.scope' | cut -d' ' -f1)
check "systemctl stop of its scope" enter systemctl stop "$unit"
check "stops it as well" eventually_output '^stopped$' status_of deaf
check_output "by SIGKILL" '^\(iis\) -1 9 ' run busctl get-property org.pmd1 /org/pmd1/process/1 org.pmd1.Process LastExit
check "started with less time for its end" run pmctl start deaf --kill-timeout 10
unit=$(enter systemctl list-units --no-legend --plain 'pm-deaf-*.scope' | cut -d' ' -f1)
check "systemctl stop of its slice" enter systemctl stop pm-deaf.slice
check "stops it too" eventually_output '^stopped$' status_of deaf
sleep 1
check_equal "for good" stopped "$(status_of deaf)"
check "it is deleted" run pmctl delete deaf

# A crash may be how a program answers a stop, of which pmd is told later where the bus is slow.
check "an app that crashes when it is told to end is started" run pmctl start $APPS/brittle.sh --name brittle
unit=$(enter systemctl list-units --no-legend --plain 'pm-brittle-*.scope' | cut -d' ' -f1)
app=$(pid_of brittle)
app_has_ended() {
        ! enter kill -0 "$app"
}
dbus=$(enter systemctl show -P MainPID dbus.service)
enter kill -STOP "$dbus"
check "systemctl stop of its scope while the bus hangs" enter systemctl stop "$unit"
check "it ends" eventually app_has_ended
enter kill -CONT "$dbus"
check "which is no crash" eventually_output '^stopped$' status_of brittle
check_output "by its signal" '^\(iis\) -1 11 ' run busctl get-property org.pmd1 /org/pmd1/process/2 org.pmd1.Process LastExit
check_output "and does not count" '^u 0$' run busctl get-property org.pmd1 /org/pmd1/process/2 org.pmd1.Process NRestarts
check "it is deleted" run pmctl delete brittle
app=$(pid_of api)

# ---- the service manager, the journal, logind ----

memory_max_of_api() {
        enter systemctl show -P MemoryMax "$(enter systemctl list-units --no-legend --plain 'pm-api-*.scope' | cut -d' ' -f1)"
}

for how in daemon-reload daemon-reexec; do
        check "$how" enter systemctl $how
        check "and a limit" run pmctl set-property api memory_max=300M
        check "$how: pmd still tells the service manager" eventually_output '^314572800$' memory_max_of_api
        check "and another" run pmctl set-property api memory_max=infinity
        check "$how: which is told too" eventually_output '^infinity$' memory_max_of_api
done

# A bus that hangs, in whose way the service manager's answers are.
dbus=$(enter systemctl show -P MainPID dbus.service)
enter kill -STOP "$dbus"
enter pmctl --silent start $APPS/sleeper.sh --name patient &
starting=$!
check "it is told what an app waits for" eventually_output 'does not run yet: the service manager has not made its unit' enter pmctl why patient
check_no_output "which has not been asked whether it is ready" 'that it is ready' enter pmctl why patient
enter kill -CONT "$dbus"
wait $starting
check_equal "it starts when that is over" 0 $?
check_equal "and runs" online "$(status_of patient)"
check_no_output "that was all" 'has not made its unit' enter pmctl why patient
check "it is deleted" enter pmctl delete patient

check_no_output "no scope was given up by reloads" 'has given up' enter journalctl --no-pager -u pmd

(for _ in $(seq 1 10); do
        enter systemctl daemon-reload
        enter systemctl daemon-reexec
done) &
reloads=$!
failed=0
for i in $(seq 1 10); do
        enter pmctl restart api >/dev/null || failed=$((failed + 1))
done
wait $reloads
check_equal "10 restarts while the service manager is reloaded and reexecuted" 0 "$failed"
check_equal "leave the app up" online "$(status_of api)"
check_output "in one scope" '^1 loaded units' enter systemctl list-units 'pm-api-*.scope'
app=$(pid_of api)
enter systemctl restart systemd-journald.service
enter systemctl try-restart systemd-logind.service
check_equal "the app does not notice a restart of journald and logind" "$app" "$(pid_of api)"

# ---- who follows ----

enter timeout 100 pmctl logs -f --raw --lines 0 api >"$WORK/follow.log" 2>"$WORK/follow.err" &
follow=$!
enter timeout 100 pmctl events >"$WORK/events.log" 2>"$WORK/events.err" &
events=$!
eventually_file() { # FILE TEXT
        eventually grep -q -- "$2" "$1"
}
restart_is_followed() { # the subscription takes its time
        run pmctl restart api >/dev/null && grep -q online "$WORK/events.log"
}
check "a restart is followed" eventually restart_is_followed
n=$(wc -l <"$WORK/events.log")
before=$(main_pid)
enter kill -KILL "$before"
check "pmd is killed meanwhile" eventually another_pmd "$before"
check "who follows events is told" eventually_file "$WORK/events.log" pmd:resumed
check "a stop" run pmctl stop api
more_events() {
        [ "$(wc -l <"$WORK/events.log")" -gt "$n" ] && tail -n +$((n + 1)) "$WORK/events.log" | grep -q stop
}
check "the events of the next one follow" eventually more_events
check "and logs -f goes on" kill -0 $follow
kill $follow $events 2>/dev/null
wait $follow $events 2>/dev/null
check "a start" run pmctl start api
app=$(pid_of api)

# ---- a pmd that hangs ----

put_file /run/systemd/system/pmd.service.d/watchdog.conf <<-'CONF'
	[Service]
	WatchdogSec=2s
	TimeoutAbortSec=1s
CONF
enter systemctl daemon-reload
before=$(main_pid)
enter kill -KILL "$before"
eventually another_pmd "$before"
eventually enter pmctl ping
before=$(main_pid)
enter kill -STOP "$before"
check "a pmd that hangs is ended by the watchdog" eventually another_pmd "$before"
check_equal "the app runs on" "$app" "$(pid_of api)"
check_output "and pmd serves" pong run pmctl ping
enter rm /run/systemd/system/pmd.service.d/watchdog.conf
enter systemctl daemon-reload

# ---- many at once ----

failed=0
others=()
before=$(main_pid)
for _ in $(seq 1 20); do
        enter pmd --system >/dev/null 2>&1 &
        others+=($!)
done
for pid in "${others[@]}"; do
        wait "$pid"
        [ $? -eq 75 ] || failed=$((failed + 1))
done
check_equal "20 times pmd beside the one that serves: each ends and says why" 0 "$failed"
check_equal "the first one stays" "$before" "$(main_pid)"
check_equal "the app runs on" "$app" "$(pid_of api)"

# ---- a process is moved out of its scope, which goes ----

unit=$(run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Unit | cut -d'"' -f2)
mount=$(enter findmnt -n -o TARGET -t cgroup2 | head -n1)
control=$(enter systemctl show -p ControlGroup --value "$unit")
check_output "the scope has a cgroup" "^/.+/$unit\$" echo "$control"
# shellcheck disable=SC2016
check "its process is moved elsewhere" enter sh -e -c 'mkdir -p "$1/elsewhere"; echo "$3" >"$1/elsewhere/cgroup.procs"; ! grep . "$1$2/cgroup.procs"' \
        sh "$mount" "$control" "$app"
check "a scope without processes ends" eventually_output '^inactive' enter systemctl is-active "$unit" ||
        diag "$(enter systemctl status "$unit" 2>&1; enter grep -r . "$mount$control/cgroup.procs" "$mount$control/cgroup.events" 2>&1)"
check "its process, which is elsewhere, lives" enter kill -0 "$app"
check "it can be restarted" run pmctl restart api
check_fails "which ends the one elsewhere" enter kill -0 "$app"
check_equal "and the app is up" online "$(status_of api)"
app=$(pid_of api)

# ---- the bus ----

enter systemctl restart dbus.service
check "the bus is restarted: the private socket serves" eventually enter pmctl ping
check "the name is owned again" eventually name_is_owned
check_equal "the app runs on" "$app" "$(pid_of api)"
check "it can be restarted" run pmctl restart api
check_equal "and is up" online "$(status_of api)"
app=$(pid_of api)

restarts() {
        run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process NRestarts | cut -d' ' -f2
}
before=$(restarts)
enter systemctl stop dbus.socket dbus.service
enter kill -KILL "$app"
check "an app that ends while there is no bus waits" eventually_output '│ waiting restart' enter pmctl list
check_output "and why is told" 'the service manager cannot be reached' enter pmctl describe api
enter systemctl start dbus.socket dbus.service
check "until there is one" eventually_output '^online$' status_of api
check_equal "which is one restart" $((before + 1)) "$(restarts)"
app=$(pid_of api)

# ---- what is wiped ----

enter rm -rf /run/pmd/pmd.sock /run/pmd/processes /run/pmd/definitions
check "with its runtime directory wiped pmd serves" run pmctl restart api
app=$(pid_of api)
before=$(main_pid)
enter kill -KILL "$before"
check "the next one" eventually another_pmd "$before"
check_equal "knows what was written since" "$app" "$(pid_of api)"

# ---- a pmd that cannot live ----

put_file /run/systemd/system/pmd.service.d/broken.conf <<-'CONF'
	[Service]
	ExecStart=
	ExecStart=/bin/false
CONF
enter systemctl daemon-reload
enter kill -KILL "$(main_pid)"
check "a pmd that cannot live is tried again" eventually_output '^NRestarts=[3-9]' enter systemctl show -p NRestarts pmd.service
output=$(enter timeout 40 pmctl list 2>&1)
status=$?
check "pmctl list has an exit status for it" [ $status -eq 69 -o $status -eq 124 ]
check_output "says what is wrong" 'systemctl status pmd|journalctl -u pmd' echo "$output"
check_output "and shows what was known" 'api .*runs' echo "$output"
check "the app runs on" enter kill -0 "$app"
enter rm -r /run/systemd/system/pmd.service.d
enter systemctl daemon-reload
check "a good one serves" eventually enter pmctl ping
check_equal "a good one takes over" "$app" "$(pid_of api)"

check "pmctl kill" run pmctl kill
check "leaves nothing" eventually_output '^0 loaded units' enter systemctl list-units --all 'pm-*'

done_testing
