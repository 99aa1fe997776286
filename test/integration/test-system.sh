#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The system's pmd as systemctl, systemd-cgls, busctl and journalctl see it.

# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

APPS=/run/test/apps

property() { # ID PROPERTY
        run busctl get-property org.pmd1 "/org/pmd1/process/$1" org.pmd1.Process "$2" | cut -d' ' -f2- | tr -d '"'
}

invocation_id() { # ID
        local bytes
        read -ra bytes < <(run busctl get-property org.pmd1 "/org/pmd1/process/$1" org.pmd1.Process InvocationID)
        printf '%02x' "${bytes[@]:2}"
}

number_of_processes() { # PATTERN
        enter pgrep -cf -- "$1"
}

container_boot
add_user
check_output "the machine is up" '^running$' enter systemctl is-system-running

# ---- activation ----

check_output "pmd does not run before it is needed" '^inactive$' enter systemctl is-active pmd.service
check_output "a call on the bus starts it" '^s "pong"$' run busctl call org.pmd1 /org/pmd1 org.pmd1.Manager Ping
check_output "as its unit" '^active$' enter systemctl is-active pmd.service
check_output "Scope" '^s "system"$' run busctl get-property org.pmd1 /org/pmd1 org.pmd1.Manager Scope
check_output "Runner" '^s "scope"$' run busctl get-property org.pmd1 /org/pmd1 org.pmd1.Manager Runner
check_output "LogTarget" '^s "journal"$' run busctl get-property org.pmd1 /org/pmd1 org.pmd1.Manager LogTarget
check "systemctl stop pmd" enter systemctl stop pmd.service
check_output "which ends well" '^Result=success$' enter systemctl show -p Result pmd.service
check "pmctl list starts it too" run pmctl list
check_output "as its unit" '^active$' enter systemctl is-active pmd.service

# ---- start ----

check_output "pmctl start" 'api' run pmctl start $APPS/sleeper.sh --name api
check_output "the process is online" '^online$' property 0 Status
unit=$(property 0 Unit)
cgroup=$(property 0 ControlGroup)
pid=$(property 0 PID)
[ -n "$unit" ] && [ -n "$pid" ] || bail_out "no process to look at"
check_output "it has a scope named after it" '^pm-api-0-[0-9]+\.scope$' echo "$unit"
check_equal "in the slice of the app" "/pm.slice/pm-api.slice/$unit" "$cgroup"
check_output "which the service manager knows" '^active$' enter systemctl is-active "$unit"
check_output "and places there" '^Slice=pm-api.slice$' enter systemctl show -p Slice "$unit"
check_output "systemctl status shows the process" 'sleep infinity' enter systemctl status "$unit"
check_output "systemd-cgls shows the tree" "$unit" enter systemd-cgls --no-pager --unit pm.slice
check_output "the process is in that cgroup" "^0::$cgroup$" enter cat "/proc/$pid/cgroup"
check_equal "InvocationID" "$(enter systemctl show -p InvocationID --value "$unit")" "$(invocation_id 0)"
check_output "and in its environment" "^INVOCATION_ID=$(invocation_id 0)$" enter sh -c "tr '\\0' '\\n' </proc/$pid/environ"
check_output "an operator's signals are the app's" '^KillSignal=2$' enter systemctl show -p KillSignal "$unit"
check_output "the scope is stopped before pmd" '^After=.*pmd\.service' enter systemctl show -p After "$unit"

# ---- the bus ----

for i in Manager App Process; do
        case $i in
        Manager) object=/org/pmd1 ;;
        App) object=/org/pmd1/app/api ;;
        Process) object=/org/pmd1/process/0 ;;
        esac
        check_output "busctl introspect: $i" "^org.pmd1.$i +interface" run busctl introspect --no-pager org.pmd1 $object
done
check_output "busctl tree" '/org/pmd1/process/0' run busctl tree --list org.pmd1
check_output "ObjectManager" 'org.pmd1.Process' run busctl call org.pmd1 /org/pmd1 org.freedesktop.DBus.ObjectManager GetManagedObjects
check_output "Name" '^s "api"$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Name
check_output "MemoryCurrent" '^t [1-9][0-9]*$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process MemoryCurrent
check_output "CPUUsageNSec" '^t [1-9][0-9]*$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process CPUUsageNSec
check_output "TasksCurrent" '^t 1$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process TasksCurrent
check_output "NRestarts" '^u 0$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process NRestarts

# ---- the journal ----

fields() { # STREAM
        enter journalctl --sync
        enter journalctl -o export PM_APP=api "PM_STREAM=$1" --no-pager
}

eventually_output 'sleeper is up' fields out
for f in 'MESSAGE=sleeper is up' PM_APP=api PM_ID=0 PM_INSTANCE=0 PM_NAMESPACE=default PM_STREAM=out SYSLOG_IDENTIFIER=api PRIORITY=6 \
        "OBJECT_PID=$pid" "OBJECT_SYSTEMD_UNIT=$unit"; do
        check_output "the journal has ${f%%=*}" "^$f$" fields out
done
eventually_output 'sleeper complains' fields err
check_output "and standard error" '^MESSAGE=sleeper complains$' fields err
check_output "journalctl -u shows the line" 'sleeper is up' enter journalctl --no-pager -u "$unit"

# ---- crash, restart ----

invocation=$(invocation_id 0)
check "kill the main process" enter kill -KILL "$pid"
check "it is restarted" eventually_output '^1$' property 0 NRestarts
check "and online again" eventually_output '^online$' property 0 Status
check_differ "in a scope of its own" "$unit" "$(property 0 Unit)"
check_differ "with an invocation of its own" "$invocation" "$(invocation_id 0)"
check_output "the old scope is gone" 'LoadState=not-found' enter systemctl show -p LoadState "$unit"
check_output "why is told" '^\(iis\) -1 9 "signal"$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process LastExit

# ---- stopped by an operator ----

unit=$(property 0 Unit)
check "systemctl stop of the scope" enter systemctl stop "$unit"
check "the process is gone from it" eventually_output 'LoadState=not-found' enter systemctl show -p LoadState "$unit"
check "the app is stopped" eventually_output '^stopped$' property 0 Status
check "until it is started again" run pmctl start api

# ---- stop ----

check "start an app that leaves a daemon behind" run pmctl start $APPS/daemonizer.sh --name leaver
check "which comes up" eventually_output '^1$' number_of_processes '[s]leep 987654'
unit=$(enter systemctl list-units --no-legend --plain 'pm-leaver-*.scope' | cut -d' ' -f1)
check "pmctl stop" run pmctl stop leaver
check_output "nothing of it is left" '^0$' number_of_processes '[s]leep 987654'
check "nor its scope" eventually_output 'LoadState=not-found' enter systemctl show -p LoadState "$unit"

# ---- a stranger ----

as_stranger() { # METHOD SIGNATURE ARGUMENT…
        run_as_user busctl --system call org.pmd1 /org/pmd1 org.pmd1.Manager "$@"
}
refused='[Aa]uthori[sz]ation|[Aa]ccess denied'

enter systemctl stop polkit.service
check_output "others may look" '^s "api"$' run_as_user busctl --system get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Name
check_output "but polkit refuses a stop" "$refused" as_stranger Stop 'asa{sv}' 1 all 0
check_output "which was asked" '^active$' enter systemctl is-active polkit.service
check_fails "with an exit code" as_stranger Stop 'asa{sv}' 1 all 0
check_output "a start is refused" "$refused" as_stranger StartApp 'a{sv}a{sv}' 2 script s /bin/true cwd s / 0
check_output "a signal" "$refused" as_stranger SendSignal 'assi' 1 all all 9
check_output "a reset" "$refused" as_stranger Reset 'as' 1 all
check_output "Exit" "$refused" as_stranger Exit
check_output "reading environments" "$refused" as_stranger GetEnvironments 'au' 1 0
check_output "and with the list" "$refused" as_stranger ListPacked 'asb' 0 true
check_output "the list without them is for everybody" '^ayau [1-9]' as_stranger ListPacked 'asb' 0 false
check_output "so pmctl does without" '"name":"api"' run_as_user pmctl --system jlist
check_output "reading an environment" "$refused" run_as_user busctl --system call org.pmd1 /org/pmd1/process/0 org.pmd1.Process GetEnvironment
check_output "nothing has happened" '^s "online"$' run busctl get-property org.pmd1 /org/pmd1/process/0 org.pmd1.Process Status
for i in org.pmd1.Manager org.freedesktop.DBus.Peer; do
        check_output "descriptors, which take as long to close as their sender wants, do not reach pmd: $i" 'Error\.AccessDenied' \
                run_as_user python3 $APPS/pass-fd.py $i
done
check_output "systemd is asked by a connection of its own" '^org\.pmd1\.Client ' run busctl list --no-pager --no-legend
check_output "to which strangers cannot send, whose calls its answers would wait behind" 'Error\.AccessDenied|[Aa]ccess denied|Sender is not authorized|rejected' \
        run_as_user busctl --system call org.pmd1.Client / org.freedesktop.DBus.Peer Ping
check_output "an expression that would take gigabytes is refused" 'repeats too much' as_stranger ResolveTargets as 1 '/((((a{1,100}){1,100}){1,100}){1,100})/'
put_file /run/flood.sh <<-'FLOOD'
	# Each call is a connection of its own.
	for i in $(seq 40); do
	        busctl --system --timeout=5 call org.pmd1 /org/pmd1 org.pmd1.Manager Stop 'asa{sv}' 1 api 0 &
	done
	wait
FLOOD
put_file /run/large.sh <<-'LARGE'
	for i in $(seq 14); do
	        env+=("$(printf 'V%d=%0100000d' "$i" 0)")
	done
	busctl --system call org.pmd1 /org/pmd1 org.pmd1.Manager StartApp 'a{sv}a{sv}' 3 script s /bin/true cwd s / env as 14 "${env[@]}" 0
LARGE
check_output "a call that is too large to be kept is refused" 'too large' run_as_user bash /run/large.sh
enter systemctl kill --signal=STOP polkit.service
check_equal "while polkit does not answer, a user can have so many calls waiting" 8 "$(run_as_user bash /run/flood.sh 2>&1 | grep -c 'Too many calls')"
check_output "and root need not wait" '^au 1' run busctl call org.pmd1 /org/pmd1 org.pmd1.Manager Start 'asa{sv}' 1 api 0
enter systemctl kill --signal=CONT polkit.service
check_output "pmctl --system says why" 'org\.pmd1\.manage-apps' run_as_user pmctl --system stop api
check_fails "with an exit code" run_as_user pmctl --system stop api
closed='journal is not for this user to read'
check_output "pmctl logs says that the journal is closed to them" "$closed" run_as_user pmctl --system logs api --nostream
check_no_output "but not to root" "$closed" run pmctl logs api --nostream
check_fails "the socket's directory is not theirs" run_as_user ls /run/pmd

enter systemctl mask --quiet --runtime --now polkit.service
check_output "without polkit nothing is allowed either" 'polkit' run_as_user pmctl --system stop api
enter systemctl unmask --quiet --runtime polkit.service

put_file /etc/polkit-1/rules.d/50-test.rules <<-'RULES'
	polkit.addRule(function(action, subject) {
	        if (action.id == "org.pmd1.manage-apps" && subject.user == "tester")
	                return polkit.Result.YES;
	});
RULES
enter systemctl restart polkit.service
check_output "a rule of the administrator can allow it" '^au 1' as_stranger Stop 'asa{sv}' 1 api 0
check "which is done" eventually_output '^stopped$' property 0 Status
check_output "and allows that only" "$refused" as_stranger Exit
enter sh -c 'rm /etc/polkit-1/rules.d/50-test.rules'
check_output "root needs no rule" '^au' run busctl call org.pmd1 /org/pmd1 org.pmd1.Manager Stop 'asa{sv}' 1 all 0

# ---- paths in the hands of an app's user ----

run_as_user mkdir -p "/home/$TEST_USER/run"
enter sh -c 'mkdir -p /var/victim && echo precious >/var/victim/s.sock'
put_file /root/listener.json <<-JSON
	{"name": "listener", "script": "/bin/sleep", "args": ["infinity"], "user": "$TEST_USER", "cwd": "/", "listen": ["unix:///home/$TEST_USER/run/s.sock"]}
JSON
check "start an app for which pmd listens in its user's directory" run pmctl start /root/listener.json
check_output "the socket is that user's" "^$TEST_USER$" enter stat -c %U "/home/$TEST_USER/run/s.sock"
run_as_user sh -c "cd /home/$TEST_USER && mv run run.old && ln -s /var/victim run"
check "stop it, while the path leads elsewhere" run pmctl stop listener
check_output "where the file is not that user's to be removed" '^precious$' enter cat /var/victim/s.sock
run_as_user sh -c "cd /home/$TEST_USER && rm run && mv run.old run"
check "a socket that was left behind is replaced" run pmctl start listener
check "and removed at a stop" run pmctl stop listener
check_fails "with its file" enter test -e "/home/$TEST_USER/run/s.sock"

# ---- delete ----

check "pmctl delete all" run pmctl delete all
check "leaves no unit behind" eventually_output '^0 loaded units' enter systemctl list-units --all 'pm-*'
check_output "and no object" '^u 0$' run busctl get-property org.pmd1 /org/pmd1 org.pmd1.Manager NProcesses
check_output "nor a failed unit" '^0 loaded units' enter systemctl list-units --failed

# ---- the end of pmd ----

check "start once more" run pmctl start $APPS/sleeper.sh --name last
before=$(run pmctl pid last)
check "systemctl stop pmd" enter systemctl stop pmd.service
check_output "which ends well" '^Result=success$' enter systemctl show -p Result pmd.service
check_output "and leaves its apps alone" '^active$' enter systemctl is-active pm-last-0-1.scope
check_equal "the next pmd takes them over" "$before" "$(run pmctl pid last)"
check "pmctl kill" run pmctl kill
check "takes them along" eventually_output '^0 loaded units' enter systemctl list-units --all 'pm-*'

done_testing
