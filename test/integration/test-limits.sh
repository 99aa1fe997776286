#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Limits of definitions as systemd sees them: at the start of a scope, and changed while it runs.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

APPS=/run/test/apps

property() { # ID PROPERTY
        enter busctl get-property org.pmd1 "/org/pmd1/process/$1" org.pmd1.Process "$2" | cut -d' ' -f2- | tr -d '"'
}

shown() { # PROPERTY: of the scope
        enter systemctl show -p "$1" --value "$unit"
}

container_boot

check_output "pmctl start with limits" 'api' enter pmctl start $APPS/sleeper.sh --name api --memory-max 600M --memory-high 500M --cpu-quota 150% \
        --cpu-weight 50 --io-weight 60 --tasks-max 70 --allowed-cpus 0
unit=$(property 0 Unit)
pid=$(property 0 PID)
[ -n "$unit" ] || bail_out "no process to look at"
check_equal "MemoryMax" 629145600 "$(shown MemoryMax)"
check_equal "MemoryHigh" 524288000 "$(shown MemoryHigh)"
check_equal "CPUQuota" 1.500000s "$(shown CPUQuotaPerSecUSec | sed 's/^1\.5s$/1.500000s/')"
check_equal "CPUWeight" 50 "$(shown CPUWeight)"
check_equal "IOWeight" 60 "$(shown IOWeight)"
check_equal "TasksMax" 70 "$(shown TasksMax)"
check_equal "AllowedCPUs" 0 "$(shown AllowedCPUs)"
slice_weights() {
        enter systemctl show -p CPUWeight -p IOWeight --value pm-api.slice | xargs
}
check_equal "weights count between apps: the slice has them" "50 60" "$(slice_weights)"

check_output "set-property" '\[api\]\(0\)' enter pmctl set-property api memory_max=700M cpu_quota=50% tasks_max=infinity allowed_cpus=
check_soon() { # NAME EXPECTED PROPERTY: pmd does not wait for systemd
        local i
        for ((i = 0; i < 100; i++)); do
                [ "$(shown "$3")" != "$2" ] || break
                sleep 0.1
        done
        check_equal "$1" "<$2>" "<$(shown "$3")>"
}
check_soon "MemoryMax has changed" 734003200 MemoryMax
check_soon "CPUQuota has changed" 500ms CPUQuotaPerSecUSec
check_soon "TasksMax is gone" infinity TasksMax
check_soon "AllowedCPUs are gone" "" AllowedCPUs
check "other weights" enter pmctl set-property api cpu_weight=70 io_weight=
check "are the slice's" eventually_output '^70 \[not set\]$' slice_weights
check_equal "what was not named has not" 524288000 "$(shown MemoryHigh)"
check_equal "it is the same process" "$pid" "$(property 0 PID)"
check "restart" enter pmctl restart api
unit=$(property 0 Unit)
check_equal "the next incarnation has the new limit" 734003200 "$(shown MemoryMax)"

check "delete" enter pmctl delete api
check "an app of the same name without weights" enter pmctl start $APPS/sleeper.sh --name api
check_equal "does not inherit them" "[not set] [not set]" "$(slice_weights)"

# A bash that binds a port below 1024 needs a helper; what the kernel says of the process is enough.
check_output "a capability for a user" 'web' enter pmctl start $APPS/sleeper.sh --name web --uid nobody --capabilities cap_net_bind_service
check_output "it has that one" '^CapAmb:[[:space:]]*0000000000000400$' enter grep CapAmb "/proc/$(property 1 PID)/status"

# ---- sd_notify from a shell script ----

check_output "an app that notifies" 'notifier' enter pmctl start "systemd-notify --ready --status='I am up'; sleep 1000" --name notifier --notify --listen-timeout 60s
check_output "is online" '^online$' property 2 Status
check_output "its status" '^I am up$' property 2 StatusText

# ---- across the end of pmd ----

check_output "an app that notifies later" 'later' enter pmctl start \
        "systemd-notify --ready --status=one; while [ ! -e /run/go ]; do sleep 0.1; done; systemd-notify --status=two; sleep 1000" \
        --name later --notify --listen-timeout 60s --watchdog-timeout 1h
check_output "its status" '^one$' property 3 StatusText
old=$(enter systemctl show -p MainPID --value pmd.service)
check "pmd is killed" enter systemctl kill -s KILL pmd.service
for ((i = 0; i < 100; i++)); do
        new=$(enter systemctl show -p MainPID --value pmd.service)
        [ "$new" = 0 ] || [ "$new" = "$old" ] || break
        sleep 0.1
done
check_output "the next one has the app" '^online$' property 3 Status
enter touch /run/go
for ((i = 0; i < 100; i++)); do
        [ "$(property 3 StatusText)" != two ] || break
        sleep 0.1
done
check_output "and hears what it says" '^two$' property 3 StatusText

done_testing
