/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <pwd.h>
#include <signal.h>

#include "pmctl/why.h"
#include "shared/signal-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

/* ---- words ---- */

static char *format_span(usec_t t) {
        if (t < USEC_PER_SEC)
                return strprintf("%" USEC_FMT " ms", t / USEC_PER_MSEC);
        if (t < 10 * USEC_PER_SEC)
                return strprintf("%" USEC_FMT ".%" USEC_FMT " s", t / USEC_PER_SEC, t % USEC_PER_SEC / (USEC_PER_SEC / 10));
        if (t < 2 * USEC_PER_MINUTE)
                return strprintf("%" USEC_FMT " s", t / USEC_PER_SEC);
        if (t < 2 * USEC_PER_HOUR)
                return strprintf("%" USEC_FMT " min", t / USEC_PER_MINUTE);
        if (t < 2 * USEC_PER_DAY)
                return strprintf("%" USEC_FMT " h", t / USEC_PER_HOUR);
        return strprintf("%" USEC_FMT " days", t / USEC_PER_DAY);
}

/* Appends to *text; after a failure it is NULL and stays so. */
static void append(char **text, const char *more) {
        char *joined = *text && more ? strjoin(*text, more) : NULL;

        free(*text);
        *text = joined;
}

static void append_span(char **text, const char *before, usec_t span, const char *after) {
        _cleanup_free_ char *s = format_span(span);

        append(text, before);
        append(text, s);
        append(text, after);
}

static void append_number(char **text, const char *before, unsigned n, const char *after) {
        _cleanup_free_ char *s = strprintf("%u", n);

        append(text, before);
        append(text, s);
        append(text, after);
}

static void append_escaped(char **text, const char *more) {
        _cleanup_free_ char *s = string_escape_cc(strempty(more));

        append(text, s);
}

static char *describe_requester(const HistoryEvent *e) {
        const struct passwd *pw = getpwuid(e->uid);
        _cleanup_free_ char *command = string_escape_cc(e->command);
        char *text = strdup(pw ? "user " : "uid ");

        if (pw)
                append_escaped(&text, pw->pw_name);
        else
                append_number(&text, "", e->uid, "");
        if (e->pid > 0) {
                append_number(&text, " (process ", e->pid, "");
                if (!isempty(command)) {
                        append(&text, ", ");
                        append(&text, command);
                }
                append(&text, ")");
        }
        return text;
}

/* "exited with code 1" */
static char *describe_end(const HistoryEvent *e) {
        const char *signal = e->signal > 0 ? strna(signal_to_string(e->signal)) : NULL;

        if (streq(e->reason, "oom-kill"))
                return strdup("was killed by the kernel for lack of memory");
        if (streq(e->reason, "kill-timeout"))
                return strdup("did not end within its kill_timeout and was killed");
        if (streq(e->reason, "watchdog"))
                return strdup("gave no sign of life within its watchdog time and was ended");
        if (streq(e->reason, "unknown"))
                return strdup("ended while no pmd ran, so that nobody saw how");
        if (streq(e->reason, "core-dump"))
                return strjoin("was killed by ", signal, " and dumped core");
        if (signal)
                return strjoin("was killed by ", signal);
        if (e->code > 128 && signal_to_string(e->code - 128))
                return strprintf("exited with code %d (a shell's word for %s)", e->code, signal_to_string(e->code - 128));
        return strprintf("exited with code %d", e->code);
}

/* ---- what of the history counts ---- */

#define MANY_TRIGGERS 3U

static const HistoryEvent *find_last(const WhyFacts *f, EventKind a, EventKind b) {
        for (size_t i = f->events.n; i > 0; i--)
                if (IN_SET(f->events.events[i - 1].kind, a, b))
                        return f->events.events + i - 1;
        return NULL;
}

static const HistoryEvent *last_exit(const WhyFacts *f) {
        return find_last(f, EVENT_EXITED, EVENT_FAILED);
}

static const HistoryEvent *last_request(const WhyFacts *f) {
        return find_last(f, EVENT_REQUESTED, EVENT_REQUESTED);
}

static bool is_request_to_stop(const HistoryEvent *e) {
        return e && (streq_ptr(e->text, "stop") || streq_ptr(e->text, "delete"));
}

/* How often it ended in a row, with nothing else between but what was part of it. */
static unsigned n_exits_in_a_row(const WhyFacts *f) {
        unsigned n = 0;

        for (size_t i = f->events.n; i > 0; i--) {
                const HistoryEvent *e = f->events.events + i - 1;

                if (e->kind == EVENT_EXITED)
                        n += e->count;
                else if (e->kind != EVENT_OOM_KILL)
                        break;
        }
        return n;
}

static unsigned n_triggers(const WhyFacts *f, const char *prefix) {
        unsigned n = 0;

        for (size_t i = 0; i < f->events.n; i++)
                if (f->events.events[i].kind == EVENT_TRIGGERED && f->events.events[i].text && startswith(f->events.events[i].text, prefix))
                        n += f->events.events[i].count;
        return n;
}

/* The signal that a request sent, and that then ended it. */
static const HistoryEvent *find_signal_request(const WhyFacts *f, const HistoryEvent *exit) {
        const HistoryEvent *q = exit > f->events.events ? exit - 1 : NULL;
        const char *name = q && q->kind == EVENT_REQUESTED && q->text ? startswith(q->text, "the signal ") : NULL;

        return name && exit->signal > 0 && streq_ptr(name, signal_to_string(exit->signal)) ? q : NULL;
}

/* ---- sentences ---- */

static void append_end(char **text, const WhyFacts *f, const HistoryEvent *e) {
        _cleanup_free_ char *end = describe_end(e);
        const HistoryEvent *q = find_signal_request(f, e);

        append(text, end);
        if (q) {
                _cleanup_free_ char *who = describe_requester(q);

                append(text, ", which ");
                append(text, who);
                append(text, " had pmd send");
        }
        append_span(text, " ", usec_sub(f->now, e->last), " ago");
        append_span(text, ", after it had run for ", e->ran, "");
}

static char *begin(const WhyFacts *f) {
        _cleanup_free_ char *name = string_escape_cc(strempty(f->name));

        return strprintf("%s (id %" PRIu32 ") ", strempty(name), f->id);
}

static char *explain_failure(const WhyFacts *f, const HistoryEvent *e) {
        char *text = begin(f);

        append(&text, "cannot be started: ");
        append_escaped(&text, e->text);
        append_span(&text, e->text && endswith(e->text, ".") ? " That was " : ". That was ", usec_sub(f->now, e->last), " ago.");
        return text;
}

static char *explain_errored(const WhyFacts *f) {
        const HistoryEvent *e = last_exit(f);
        char *text;

        if (e && e->kind == EVENT_FAILED)
                return explain_failure(f, e);

        text = begin(f);
        append(&text, "is errored: ");
        if (!e) {
                append(&text, "it was so when it was restored.");
                return text;
        }
        if (streq_ptr(e->text, "too many unstable restarts"))
                append_number(&text, "it ended ", n_exits_in_a_row(f), " times in a row, too soon after its start each time. The last time it ");
        else
                append(&text, "it ");
        append_end(&text, f, e);
        append(&text, ". pmd does not try again.");
        return text;
}

static char *explain_waiting(const WhyFacts *f) {
        const HistoryEvent *e = last_exit(f);
        char *text = begin(f);

        append(&text, "waits to be restarted");
        if (e) {
                append(&text, ": it ");
                append_end(&text, f, e);
                if (n_exits_in_a_row(f) > 1)
                        append_number(&text, " (", n_exits_in_a_row(f), " times in a row by now)");
        }
        append(&text, ".");
        if (f->next_restart > f->now)
                append_span(&text, " The next try comes in ", usec_sub(f->next_restart, f->now), ".");
        else if (f->next_restart > 0)
                append(&text, " The next try comes at once.");
        return text;
}

static char *explain_stopped(const WhyFacts *f) {
        const HistoryEvent *e = last_exit(f), *q = last_request(f);
        char *text = begin(f);

        if (is_request_to_stop(q) && (!e || q > e || e->text == NULL || streq(e->text, "it was to stop"))) {
                _cleanup_free_ char *who = describe_requester(q);

                append(&text, "is stopped: ");
                append(&text, who);
                append_span(&text, " asked for that ", usec_sub(f->now, q->last), " ago.");
                if (e > q) {
                        append(&text, " It then ");
                        append_end(&text, f, e);
                        append(&text, ".");
                }
                return text;
        }
        if (!e) {
                append(&text, f->started > 0 ? "is stopped, and nothing is known of how it ended." : "is stopped: it has not been started yet.");
                return text;
        }
        if (e->kind == EVENT_FAILED) {
                free(text);
                return explain_failure(f, e);
        }

        append(&text, "is stopped: it ");
        append_end(&text, f, e);
        append(&text, ", and is not started again");
        if (!isempty(e->text)) {
                append(&text, ": ");
                append_escaped(&text, e->text);
        }
        append(&text, ".");
        return text;
}

static char *explain_running(const WhyFacts *f) {
        char *text = begin(f);

        append(&text, streq(f->status, "online") ? "is online: its process " : streq(f->status, "stopping") ? "is being stopped: its process " :
                                                                               "is being started: its process ");
        append_number(&text, "", f->pid, " runs");
        append_span(&text, " since ", usec_sub(f->now, f->started), ".");
        if (streq(f->status, "stopping") && is_request_to_stop(last_request(f))) {
                _cleanup_free_ char *who = describe_requester(last_request(f));

                append(&text, " The stop was asked for by ");
                append(&text, who);
                append(&text, "; SIGKILL follows when its kill_timeout is over.");
        } else if (streq(f->status, "launching") && f->says_when_ready)
                append(&text, " It has not said yet that it is ready.");

        if (f->main_state == 'T')
                append(&text, " That process was stopped by a signal, such as SIGSTOP, and does nothing until it gets SIGCONT.");
        else if (f->main_state == 't')
                append(&text, " A debugger holds that process.");
        else if (f->main_state == 'D')
                append(&text, " That process waits for a disk or a network file system just now, where no signal reaches it.");
        return text;
}

static char *explain_dead(const WhyFacts *f) {
        char *text = begin(f);

        append(&text, "was ");
        append(&text, f->status);
        append(&text, " when pmd ended");
        if (f->pid > 0)
                append_number(&text, ", and its process ", f->pid, f->alive ? " still runs" : " has ended since");
        append(&text, ".");
        return text;
}

/* What came before it was online, or before a pmd that does not run any more. */
static char *explain_past(const WhyFacts *f) {
        const HistoryEvent *last = f->events.n > 0 ? f->events.events + f->events.n - 1 : NULL;
        const HistoryEvent *e = last_exit(f);
        char *text = strdup("");

        if (f->n_restarts > 0)
                append_number(&text, "It was restarted ", f->n_restarts, f->n_restarts == 1 ? " time. " : " times. ");
        for (size_t i = f->events.n; i > 0; i--) {
                const HistoryEvent *t = f->events.events + i - 1;

                if (t->kind == EVENT_EXITED && t->decision == EVENT_DECISION_RESTART && streq_ptr(t->text, "it was to be restarted"))
                        continue; /* what wanted that stands before it */
                if (t->kind == EVENT_TRIGGERED) {
                        append_span(&text, "The last restart was ", usec_sub(f->now, t->last), " ago, because of ");
                        append_escaped(&text, t->text);
                        append(&text, ".");
                        return text;
                }
                break;
        }

        if (last && last == e && last->kind == EVENT_EXITED) {
                append(&text, "Before, it ");
                append_end(&text, f, e);
                append(&text, ".");
        } else if (last && last->kind == EVENT_RELOAD_FAILED) {
                append_span(&text, "The last reload, ", usec_sub(f->now, last->last), " ago, failed and left it as it was: ");
                append_escaped(&text, last->text);
                append(&text, ".");
        } else if (last && last->kind == EVENT_REQUESTED) {
                _cleanup_free_ char *who = describe_requester(last);

                append_span(&text, "The last thing asked of pmd was, ", usec_sub(f->now, last->last), " ago: ");
                append_escaped(&text, last->text);
                append(&text, ", by ");
                append(&text, who);
                append(&text, ".");
        }
        return text;
}

/* Evidence for the last exit, or a kill among its processes that it outlived. */
static char *explain_oom_kill(const WhyFacts *f) {
        const HistoryEvent *k = find_last(f, EVENT_OOM_KILL, EVENT_OOM_KILL), *e = last_exit(f);
        char *text;

        if (!k || !k->text || (e && e > k + 1))
                return strdup("");
        text = strdup("Out of memory: ");
        append_escaped(&text, k->text);
        append_span(&text, ", ", usec_sub(f->now, k->last), " ago.");
        return text;
}

static int add_unless_empty(char ***sentences, char *text) {
        if (text && isempty(text)) {
                free(text);
                return 0;
        }
        return strv_consume(sentences, text);
}

/* What stands before the text of an event that is neither an exit nor a request. */
static const char *event_words(EventKind k) {
        switch (k) {
        case EVENT_FAILED:
                return "could not be started: ";
        case EVENT_OOM_KILL:
                return "out of memory: ";
        case EVENT_RELOAD_FAILED:
                return "its reload failed: ";
        default:
                return "restarted because of ";
        }
}

static char *explain_state(const WhyFacts *f) {
        if (f->no_pmd)
                return explain_dead(f);
        if (streq(f->status, "errored"))
                return explain_errored(f);
        if (streq(f->status, "waiting restart"))
                return explain_waiting(f);
        if (streq(f->status, "stopped"))
                return explain_stopped(f);
        return explain_running(f);
}

int why_explain(const WhyFacts *f, char ***ret_sentences) {
        _cleanup_strv_free_ char **sentences = NULL;
        bool runs = IN_SET(f->status[0], 'o', 'l');
        int r;

        r = strv_consume(&sentences, explain_state(f));
        if (r >= 0)
                r = add_unless_empty(&sentences, explain_oom_kill(f));
        if (r >= 0 && (runs || f->no_pmd))
                r = add_unless_empty(&sentences, explain_past(f));
        STRV_FOREACH(note, f->notes)
                if (r >= 0)
                        r = strv_consume(&sentences, string_escape_cc(*note));
        if (r < 0)
                return r;

        *ret_sentences = TAKE_PTR(sentences);
        return 0;
}

char *why_describe_event(const HistoryEvent *e) {
        char *text = strdup("");

        if (e->kind == EVENT_EXITED) {
                _cleanup_free_ char *end = describe_end(e);

                append(&text, end);
                append_span(&text, " after ", e->ran, "");
        } else if (e->kind == EVENT_REQUESTED) {
                _cleanup_free_ char *who = describe_requester(e);

                append_escaped(&text, e->text);
                append(&text, " was asked for by ");
                append(&text, who);
        } else {
                append(&text, event_words(e->kind));
                append_escaped(&text, e->text);
        }
        if (e->count > 1)
                append_number(&text, ", ", e->count, " times in a row");

        switch (e->decision) {
        case EVENT_DECISION_RESTART:
                append(&text, "; restarted");
                break;
        case EVENT_DECISION_RESTART_LATER:
                append(&text, "; to be restarted after a wait");
                break;
        case EVENT_DECISION_GIVE_UP:
                append(&text, "; given up");
                break;
        default:
                break;
        }
        return text;
}

/* ---- advice ---- */

/* What its last lines betray; case does not matter. */
static const struct {
        const char *words, *advice;
} symptoms[] = {
        { "EMFILE", "It has too many files open: raise limit_nofile of its definition, see pmd-app(5)." },
        { "too many open files", "It has too many files open: raise limit_nofile of its definition, see pmd-app(5)." },
        { "heap out of memory", "node has used up its heap: start it with --node-args=--max-old-space-size=MEGABYTES, or look for a leak." },
        { "Cannot find module", "A module is missing: run npm install (or npm ci) in the directory of the app." },
        { "NODE_MODULE_VERSION", "A native module was built for another version of node: run npm rebuild with the node that pmctl describe shows." },
        { "cannot open shared object file", "A shared library is missing: ldd on its program tells which; install it, or set LD_LIBRARY_PATH in the app's env." },
        { "version `GLIBC", "It was built on a system that is newer than this one: build it here, or on an older one." },
        { "ModuleNotFoundError", "A Python module is missing: install it, or let interpreter be the python of the app's virtual environment." },
        { "SyntaxError", "The script has a syntax error, or the interpreter is too old for it: see the line above, and pmctl describe for which interpreter runs it." },
        { "ENOSPC", "There is no space left, or no inotify watch: see df -h, and sysctl fs.inotify.max_user_watches." },
        { "no space left", "There is no space left on a file system: see df -h." },
        { "ECONNREFUSED", "What it wants to connect to does not answer: is that service up?" },
        { "connection refused", "What it wants to connect to does not answer: is that service up?" },
        { "EACCES", "It may not do what it tried: look at the owner of the file, or, for a port below 1024, grant cap_net_bind_service, see pmd-app(5)." },
        { "permission denied", "It may not do what it tried: look at the owner of the file, or, for a port below 1024, grant cap_net_bind_service, see pmd-app(5)." },
};

/* The last number behind a colon of a line that says that an address is in use, 0: none. */
static unsigned find_port(const char *line) {
        unsigned long port = 0;

        for (const char *colon = strchr(line, ':'); colon; colon = strchr(colon + 1, ':'))
                if (isdigit((unsigned char) colon[1]))
                        port = strtoul(colon + 1, NULL, 10);
        return port <= UINT16_MAX ? (unsigned) port : 0;
}

static int advise_port(char ***advice, const char *line) {
        unsigned port = find_port(line);

        if (port == 0)
                return strv_extend(advice, "The port it wants is in use: \"ss -ltnp\" tells by which process; stop that, or give the app another port.");
        return strv_consume(advice, strprintf("Port %u is in use: \"ss -ltnp 'sport = :%u'\" tells by which process; stop that, or give the app another port.",
                                              port, port));
}

static int add_once(char ***advice, const char *text) {
        return strv_contains(*advice, text) ? 0 : strv_extend(advice, text);
}

/* NULL: none says so. Of several that one is best which tells the port. */
static const char *find_address_in_use(const WhyFacts *f) {
        const char *found = NULL;

        STRV_FOREACH(line, f->lines)
                if ((strcasestr(*line, "EADDRINUSE") || strcasestr(*line, "address already in use")) && (!found || find_port(found) == 0))
                        found = *line;
        return found;
}

static int advise_by_lines(const WhyFacts *f, char ***advice) {
        const char *address = find_address_in_use(f);
        int r = 0;

        if (address)
                return advise_port(advice, address);
        STRV_FOREACH(line, f->lines)
                for (size_t i = 0; r >= 0 && i < ELEMENTSOF(symptoms); i++)
                        if (strcasestr(*line, symptoms[i].words))
                                r = add_once(advice, symptoms[i].advice);
        return r;
}

/* What is not there any more explains all that its interpreter says of that: then 1. */
static int advise_by_absence(const WhyFacts *f, const HistoryEvent *e, const char *name, char ***advice) {
        _cleanup_free_ char *cwd = string_escape_cc(strempty(f->cwd)), *script = string_escape_cc(strempty(f->script));
        int r;

        if (!cwd || !script)
                return -ENOMEM;
        if (f->cwd_is_gone) {
                r = strv_consume(advice, strprintf("Its directory %s is gone: make it again, or give it another by pmctl restart %s --cwd DIR.", cwd, name));
                return r < 0 ? r : 1;
        }
        if (f->script_is_gone) {
                r = strv_consume(advice, strprintf("Its script %s is gone: put it back, or forget the app by pmctl delete %s.", script, name));
                return r < 0 ? r : 1;
        }
        if (e->kind == EVENT_FAILED && e->text && strstr(e->text, "(ENOENT)"))
                return strv_consume(advice, strprintf("If its interpreter was upgraded or moved: pmctl restart %s --interpreter PATH.", name));
        return 0;
}

static int advise_by_exit(const WhyFacts *f, const HistoryEvent *e, char ***advice) {
        if (streq(e->reason, "oom-kill"))
                return strv_consume(advice, strprintf("%s%s%sRaise its limit (pmctl set-property %s memory_max=SIZE), or find out what it needs the memory for.",
                                                      f->memory_max ? "Its memory_max is " : "", strempty(f->memory_max), f->memory_max ? ". " : "", f->name));
        if (e->signal == SIGKILL && streq(e->reason, "signal") && !find_signal_request(f, e))
                return strv_extend(advice, "Nobody asked pmd for that SIGKILL: \"dmesg | grep -i 'killed process'\" tells whether the kernel was out of memory.");
        if (streq(e->reason, "core-dump"))
                return strv_extend(advice, "It left a core dump: coredumpctl info, or sysctl kernel.core_pattern, tells where; a debugger shows in it what it was doing.");
        if (e->code == 127 && strv_isempty(*advice))
                return strv_extend(advice, "Code 127 is a shell's word for a command that it did not find: look at the PATH in pmctl env.");
        return 0;
}

static int advise_ended(const WhyFacts *f, const HistoryEvent *e, const char *name, char ***advice) {
        int r;

        r = advise_by_absence(f, e, name, advice);
        if (r == 0)
                r = advise_by_lines(f, advice);
        if (r == 0 && e->kind == EVENT_EXITED)
                r = advise_by_exit(f, e, advice);
        if (r < 0)
                return r;
        return strv_consume(advice, strprintf("pmctl logs %s --err shows more of its lines; pmctl restart %s tries again now.", name, name));
}

static int advise_running(const WhyFacts *f, const HistoryEvent *e, const char *name, char ***advice) {
        int r;

        if (f->main_state == 'T')
                return strv_consume(advice, strprintf("pmctl sendSignal SIGCONT %s lets it go on.", name));
        if (!streq(f->status, "online"))
                return 0;
        if (n_triggers(f, "watch: ") >= MANY_TRIGGERS)
                return strv_consume(advice, strprintf("If it writes these files itself: pmctl restart %s --ignore-watch NAME leaves them out.", name));
        if (f->n_restarts < 5 || !e || e->kind != EVENT_EXITED || streq_ptr(e->text, "it was to be restarted"))
                return 0;

        r = advise_by_lines(f, advice);
        if (r < 0)
                return r;
        return strv_consume(advice, strprintf("It is restarted again and again: pmctl logs %s --err shows why it ended.", name));
}

int why_advise(const WhyFacts *f, char ***ret_advice) {
        bool ended = IN_SET(f->status[0], 'e', 'w') || streq(f->status, "stopped");
        const HistoryEvent *e = last_exit(f), *q = last_request(f);
        _cleanup_free_ char *name = string_escape_cc(strempty(f->name));
        _cleanup_strv_free_ char **advice = NULL;
        int r = 0;

        if (!name)
                return -ENOMEM;
        if (f->no_pmd)
                r = strv_extend(&advice, "No pmd runs: any command that changes something starts it, such as pmctl resurrect; systemctl status pmd tells of the system's.");
        else if (!ended)
                r = advise_running(f, e, name, &advice);
        else if (is_request_to_stop(q) && (!e || !streq_ptr(e->text, "autorestart is off")))
                r = strv_consume(&advice, strjoin("pmctl start ", name));
        else if (e && (e->code != 0 || e->kind == EVENT_FAILED))
                r = advise_ended(f, e, name, &advice);
        if (r < 0)
                return r;

        *ret_advice = TAKE_PTR(advice);
        return 0;
}
