#!/bin/bash
# SPDX-License-Identifier: MIT
#
# That an operation is done, once, and leaves nothing behind, if pmd dies before or after one of its steps with scopes, or with what systemd
# keeps for it: test/bus/test-fault.py has the other steps, and those operations, as save, that have no other. Of a build with
# -Dfault_injection=true.
#
# OPERATIONS: only these

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

FAULTS=/run/pmd-faults
APP=/run/app/app.sh
STEPS='^(before|after)-(scope-.*|fork|gate-open|fd-.*|signal|swap|retire)$'

# What there is of the app: each of its processes and starts, its scopes, cgroups, files and states, and the number of descriptors that systemd
# keeps.
leftovers() {
        # shellcheck disable=SC2016
        enter sh -c '
                pgrep -f "^sleep 98765" | sed "s/.*/process/"
                systemctl list-units --no-legend --plain --all "pm-app-*.scope" | sed "s/.*/scope/"
                find /sys/fs/cgroup -path "*/pm.slice/*.scope" -prune | sed "s/.*/cgroup/"
                find /run/pmd -type f -o -type s | sed "s/[0-9][0-9]*/N/g"
                tr "\\0" "\\n" </run/pmd/processes | grep -Eo "^\{.*\"role\":\"[a-z]*\"" | grep -Eo "\"role\":.*"
                systemctl show -p NFileDescriptorStore pmd.service
                cd /run/app
                for file in starts.* doubles; do [ ! -f $file ] || echo "$file: $(wc -l <$file)"; done' | sort | uniq -c
        run pmctl jlist | grep -Eo '"(status|restart_time)": ?("[a-z ]*"|[0-9]+)' | sort | uniq -c
}

is_as_expected() { # EXPECTED
        [ "$(leftovers)" = "$1" ]
}

# The same three times, while no step is taken.
settled() {
        local last='' now i=0
        while [ $i -lt 3 ]; do
                now=$(leftovers; enter ls -l $FAULTS)
                [ "$now" = "$last" ] && i=$((i + 1)) || i=0
                last=$now
        done
        leftovers
}

# Another pmd, of which nothing is known.
arm() { # FAULTS
        enter systemctl stop pmd.service
        enter sh -c "rm -rf $FAULTS /run/pmd /run/app/starts.* /run/app/lock.* /run/app/doubles"
        put_file /run/pmd-fault.env <<<"PMD_FAULT=$1"
        enter systemctl start pmd.service
}

# What comes before each operation, in the state that the first instances are up.
before() { # OPERATION
        case $1 in
        start) run pmctl ping ;;
        scale-up) run pmctl start $APP --name app --min-uptime 100 -i 1 ;;
        reload) run pmctl start $APP --name app --min-uptime 100 -i 2 --listen unix:///run/app/listen.sock ;;
        *) run pmctl start $APP --name app --min-uptime 100 -i 3 ;;
        esac
}

operate() { # OPERATION
        case $1 in
        start) run pmctl start $APP --name app --min-uptime 100 -i 3 ;;
        scale-up) run pmctl scale app 3 ;;
        scale-down) run pmctl scale app 1 ;;
        *) run pmctl "$1" app ;;
        esac
}

clear_up() {
        run pmctl delete all >/dev/null 2>&1
        eventually_output '^0$' enter sh -c 'pgrep -cf "^sleep 98765" || true'
}

# Nothing dies: this is how it should be, and these are the steps on the way.
learn() { # OPERATION
        arm none:0
        before "$1" >/dev/null
        enter mkdir $FAULTS
        operate "$1" >/dev/null
        expected=$(settled)
        mapfile -t points < <(enter sh -c "cd $FAULTS && wc -c *" | awk '$2 != "total" { print $2 ":" ($1 < 2 ? $1 : 2) }')
        clear_up
}

die() { # OPERATION FAULTS
        local output status deaths
        arm "$2"
        before "$1" >/dev/null
        enter mkdir $FAULTS
        output=$(operate "$1" 2>&1)
        status=$?
        eventually is_as_expected "$expected"
        if [ $status -ne 0 ] || ! is_as_expected "$expected"; then
                failures+="$2: exit status $status, $output
$(diff <(cat <<<"$expected") <(leftovers))
"
        fi
        deaths=$(enter systemctl show -p NRestarts --value pmd.service)
        [ "$deaths" = "$(tr , '\n' <<<"$2" | wc -l)" ] || failures+="$2: pmd died $deaths times
"
        died+=("$2")
        clear_up
}

container_boot
put_file $APP <<'SCRIPT'
#!/bin/sh
cd /run/app
echo x >>starts.$NODE_APP_INSTANCE
[ -n "$LISTEN_FDS" ] || exec 9>lock.$NODE_APP_INSTANCE
[ -n "$LISTEN_FDS" ] || flock -n 9 || { echo x >>doubles; exit 99; }
exec sleep 98765
SCRIPT
enter chmod +x $APP
put_file /run/systemd/system/pmd.service.d/fault.conf <<CONF
[Service]
EnvironmentFile=-/run/pmd-fault.env
Environment=PMD_FAULT_DIRECTORY=$FAULTS
CONF
enter systemctl daemon-reload

died=()
for operation in ${OPERATIONS:-start scale-up scale-down restart reload stop delete}; do
        learn "$operation"
        failures=
        n=0
        for point in "${points[@]}"; do
                [[ ${point%:*} =~ $STEPS ]] || continue
                die "$operation" "$point"
                n=$((n + 1))
        done
        # The next pmd, which stops the scopes of processes that it finds ended, dies as well.
        if [ "$operation" = restart ]; then
                die restart after-scope-start:2,before-scope-stop:1
                die restart after-scope-start:2,after-scope-stop:1
        fi
        [ -z "$failures" ] && [ $n -gt 0 ]
        result $? "$operation: $n deaths" "$failures"
done

# ---- scopes that are empty from the beginning ----

# As they are left by a pmd that is killed in the middle of a start, only that it is certain: with zombies.
put_file /run/app/leave.py <<'SCRIPT'
import os, subprocess, sys
for unit in sys.argv[1:]:
    zombie = os.fork()
    if zombie == 0:
        os._exit(0)
    os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    subprocess.run(["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "StartTransientUnit",
                    "ssa(sv)a(sa(sv))", unit, "replace", "2", "PIDs", "au", "1", str(zombie), "Slice", "s", "pm-app.slice", "0"], check=True)
    while subprocess.run(["systemctl", "is-active", "-q", unit]).returncode != 0:
        pass
SCRIPT

arm none:0
check "scopes come up empty" enter python3 /run/app/leave.py pm-app-{0..9}-1.scope
check_equal "and stay" 10 "$(enter systemctl list-units --no-legend 'pm-app-*.scope' | wc -l)"
check "the app is started" run pmctl start $APP --name app -i 10
check_equal "all of it" 10 "$(run pmctl jlist | grep -o '"status": *"online"' | wc -l)"
check "in scopes of its own" eventually_output '^10$' enter sh -c 'systemctl list-units --no-legend --plain "pm-app-*-2.scope" | wc -l'
check "the others go" eventually_output '^0$' enter sh -c 'systemctl list-units --all --no-legend --plain "pm-app-*-1.scope" | wc -l'
clear_up

missing=
for step in fork scope-start scope-reply scope-stop gate-open fd-push fd-remove signal swap retire; do
        for when in before after; do
                [[ " ${died[*]}" =~ [\ ,]$when-$step: ]] || missing+=" $when-$step"
        done
done
[ -n "${OPERATIONS-}" ] || result $((${#missing} > 0)) "no step is left out" "$missing"
done_testing
