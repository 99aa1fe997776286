# SPDX-License-Identifier: MIT
# bash completion for pmctl(1); pmctl itself knows what can be typed.

_pmctl() {
        local cur=${COMP_WORDS[COMP_CWORD]} verb='' what i word
        local -a instance=()

        COMPREPLY=()
        for ((i = 1; i < COMP_CWORD; i++)); do
                word=${COMP_WORDS[i]}
                case $word in
                        --) compopt -o default; return ;;
                        --system | --user) instance=("$word") ;;
                        --home) instance=("$word" "${COMP_WORDS[++i]}") ;;
                        -*) ;;
                        *) verb=${verb:-$word} ;;
                esac
        done

        case ${COMP_WORDS[COMP_CWORD - 1]} in
                --home | --cwd | --output | -o | --error | -e | --log | -l | --pid | -p | --interpreter)
                        compopt -o default
                        return ;;
                --sort)
                        what='name namespace pid id cpu memory uptime status'
                        mapfile -t COMPREPLY < <(compgen -W "$what" -- "$cur")
                        return ;;
        esac

        if [[ $cur == -* ]]; then
                what=options
        elif [[ -z $verb ]]; then
                what=verbs
        else
                case $verb in
                        ping | kill | version | report | monit | dashboard | dash | imonit | jlist | prettylist | save | dump | resurrect | cleardump | multiset) return ;;
                        help) what=verbs ;;
                        get | set | unset | conf | config) what=settings ;;
                        startup | unstartup) mapfile -t COMPREPLY < <(compgen -W systemd -- "$cur"); return ;;
                        import) mapfile -t COMPREPLY < <(compgen -W pm2 -- "$cur"); compopt -o default; return ;;
                        start | stop | restart | reload | gracefulReload | delete | del) what=targets; compopt -o default ;;
                        startOr* | runtime) compopt -o default; return ;;
                        ecosystem | init) mapfile -t COMPREPLY < <(compgen -W simple -- "$cur"); return ;;
                        *) what=targets ;;
                esac
        fi

        while IFS=$'\t' read -r word _; do
                [[ $word == "$cur"* ]] && COMPREPLY+=("$(printf %q "$word")")
        done < <(pmctl "${instance[@]}" __complete "$what" 2>/dev/null)
}

complete -F _pmctl pmctl
