#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A user's pmd: the session bus, the user's manager, no polkit.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

APPS=/run/test/apps

property() { # ID PROPERTY
        run_as_user busctl --user get-property org.pmd1 "/org/pmd1/process/$1" org.pmd1.Process "$2" | cut -d' ' -f2- | tr -d '"'
}

invocation_id() { # ID
        local bytes
        read -ra bytes < <(run_as_user busctl --user get-property org.pmd1 "/org/pmd1/process/$1" org.pmd1.Process InvocationID)
        printf '%02x' "${bytes[@]:2}"
}

number_of_processes() { # PATTERN
        enter pgrep -cf -- "$1"
}

container_boot
check "add a user" add_user
check "start the user's manager" start_user_manager

# ---- activation ----

check_output "pmd does not run before it is needed" '^inactive$' run_as_user systemctl --user is-active pmd.service
check_output "a call on the bus starts it" '^s "pong"$' run_as_user busctl --user call org.pmd1 /org/pmd1 org.pmd1.Manager Ping
check_output "as its unit" '^active$' run_as_user systemctl --user is-active pmd.service
check_output "Scope" '^s "user"$' run_as_user busctl --user get-property org.pmd1 /org/pmd1 org.pmd1.Manager Scope
check_output "Runner" '^s "scope"$' run_as_user busctl --user get-property org.pmd1 /org/pmd1 org.pmd1.Manager Runner
check "systemctl --user stop pmd" run_as_user systemctl --user stop pmd.service
check "pmctl list starts it too" run_as_user pmctl list
check_output "as its unit" '^active$' run_as_user systemctl --user is-active pmd.service
check_output "the system's pmd has nothing to do with it" '^inactive$' enter systemctl is-active pmd.service

# ---- start ----

check_output "pmctl start" 'api' run_as_user pmctl start $APPS/sleeper.sh --name api
check_output "the process is online" '^online$' property 0 Status
unit=$(property 0 Unit)
pid=$(property 0 PID)
[ -n "$unit" ] && [ -n "$pid" ] || bail_out "no process to look at"
check_output "it has a scope named after it" '^app-pm-api-0-[0-9]+\.scope$' echo "$unit"
check_output "in the slice of the app" "^/user\.slice/.*/app\.slice/app-pm\.slice/app-pm-api\.slice/$unit$" property 0 ControlGroup
check_output "which the service manager knows" '^active$' run_as_user systemctl --user is-active "$unit"
check_output "the process is in that cgroup" "/$unit$" enter cat "/proc/$pid/cgroup"
check_output "and is the user's" "^$TEST_USER$" enter ps -o user= -p "$pid"
check_equal "InvocationID" "$(run_as_user systemctl --user show -p InvocationID --value "$unit")" "$(invocation_id 0)"
check_output "busctl introspect" '^org.pmd1.Process +interface' run_as_user busctl --user introspect --no-pager org.pmd1 /org/pmd1/process/0
check_output "MemoryCurrent" '^t [1-9][0-9]*$' run_as_user busctl --user get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process MemoryCurrent
check_output "CPUUsageNSec" '^t [1-9][0-9]*$' run_as_user busctl --user get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process CPUUsageNSec

# ---- the journal ----

fields() {
        enter journalctl --sync
        enter journalctl -o export PM_APP=api PM_STREAM=out --no-pager
}

eventually_output 'sleeper is up' fields
for f in 'MESSAGE=sleeper is up' PM_APP=api PM_ID=0 PM_INSTANCE=0 PM_NAMESPACE=default PM_STREAM=out SYSLOG_IDENTIFIER=api "_UID=$TEST_UID"; do
        check_output "the journal has ${f%%=*}" "^$f$" fields
done

# ---- the end of pmd ----

user_pmd() {
        run_as_user systemctl --user show -p MainPID --value pmd.service
}

another_user_pmd() { # PID
        local now
        now=$(user_pmd)
        [ "${now:-0}" != 0 ] && [ "$now" != "$1" ]
}

before=$(user_pmd)
check_output "pmctl update" 'in version' run_as_user pmctl update
check "starts another pmd" another_user_pmd "$before"
check_equal "the app runs on" "$pid" "$(property 0 PID)"
before=$(user_pmd)
enter kill -KILL "$before"
check "pmd is killed: a call" run_as_user pmctl ping
check "is answered by the next one" eventually another_user_pmd "$before"
check_equal "the app runs on" "$pid" "$(property 0 PID)"
(for _ in $(seq 1 20); do run_as_user systemctl --user daemon-reload; done) &
reloads=$!
failed=0
for _ in $(seq 1 5); do
        run_as_user pmctl restart api >/dev/null || failed=$((failed + 1))
done
wait $reloads
check_equal "5 restarts while the user's manager is reloaded 20 times" 0 "$failed"
check_output "leave one scope" '^1 loaded units' run_as_user systemctl --user list-units 'app-pm-api-*.scope'
pid=$(property 0 PID)
unit=$(property 0 Unit)
restarts=$(property 0 NRestarts)

# ---- crash, stop, delete ----

check "kill the main process" enter kill -KILL "$pid"
check "it is restarted" eventually_output "^$((restarts + 1))$" property 0 NRestarts
check "and online again" eventually_output '^online$' property 0 Status
check_differ "in a scope of its own" "$unit" "$(property 0 Unit)"

check "start an app that leaves a daemon behind" run_as_user pmctl start $APPS/daemonizer.sh --name leaver
check "which comes up" eventually_output '^1$' number_of_processes '[s]leep 987654'
check "pmctl stop" run_as_user pmctl stop leaver
check_output "nothing of it is left" '^0$' number_of_processes '[s]leep 987654'

check_output "the user's app cannot be seen by root's pmctl" '"?\[\]' run pmctl jlist

check "pmctl delete all" run_as_user pmctl delete all
check "leaves no unit behind" eventually_output '^0 loaded units' run_as_user systemctl --user list-units --all 'app-pm-*'
check "systemctl --user stop pmd" run_as_user systemctl --user stop pmd.service
check_output "which ends well" '^Result=success$' run_as_user systemctl --user show -p Result pmd.service

done_testing
