/* SPDX-License-Identifier: MIT */
#include "pmctl/pmctl-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* Words that pm2 knows and pmctl does not: what to do instead. */
typedef struct Answer {
        const char *words; /* space-separated */
        const char *text;
        bool harmless;     /* scripts call it, and there is nothing to be done */
} Answer;

static const Answer answers[] = {
        { "link unlink plus register login logout open interact", "there is no service to connect to: pmd sends nothing anywhere.", true },
        { "monitor unmonitor", "there is no service to be monitored by; pmctl list and D-Bus have the figures.", true },
        { "sysmonit", "pmd does not watch the machine; top, vmstat and systemd-cgtop do.", true },
        { "logrotate", "log files are rotated by pmd itself: see log_max_size, log_retain and log_rotate_interval in pmd-app(5).", true },
        { "install module:install uninstall module:uninstall module:update module:generate package module:package publish module:publish",
          "there are no modules. What pm2-logrotate does is built in (log_max_size); what others do can run as an app.", false },
        { "serve expose", "a static server is an app like any other: pmctl start \"python3 -m http.server 8080\" --name static", false },
        { "deploy", "deployment is not pmd's: let ssh, rsync or a CI job bring the files, and then run pmctl startOrReload FILE there.", false },
        { "pull forward backward", "pmd does not touch repositories: run git there, then pmctl reload APP.", false },
        { "profile profile:cpu profile:mem", "pmd is no Node program; profile it with perf, and an app with what its language has (node --cpu-prof).", false },
        { "install-otel uninstall-otel trace", "nothing is injected into apps; add OpenTelemetry to the app itself.", false },
        { "slist sysinfos", "systemctl status, free, df and lscpu tell about the machine; pmctl report about pmd.", false },
        { "create examples autoinstall", "pmctl ecosystem writes a sample of an ecosystem file.", false },
        { "completion", "completions for bash, zsh and fish are installed with pmctl.", false },
        { "web", "there is no web server in pmd; its D-Bus interface, org.pmd1, has all of it.", false },
        { "gc", "pmd has no garbage to collect.", true },
        { "snapshot", "take a heap snapshot in the app itself (node --heapsnapshot-signal=SIGUSR2, then pmctl sendSignal SIGUSR2 APP).", false },
        { "inspect", "start the app with --node-args=--inspect, or send it SIGUSR1 (pmctl sendSignal SIGUSR1 APP).", false },
        { "dockerize container", "see pmctl runtime, and \"In a container\" in the README.", false },
};

/* Whoever sets a machine up installs it, and goes on only if that was no error. */
static const char *what_is_meant(char *const *words) {
        return endswith(words[0], "install") && startswith(strempty(words[1]), "pm2-logrotate") ? "logrotate" : words[0];
}

static const Answer *find_answer(const char *word) {
        for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
                _cleanup_strv_free_ char **words = strv_split(answers[i].words, " ");

                if (strv_contains(words, word))
                        return answers + i;
        }
        return NULL;
}

bool verb_has_answer(char *const *words) {
        return !strv_isempty(words) && find_answer(what_is_meant(words));
}

/* One that has hardly a letter in common is no help. */
static const char *find_nearest(const char *word, char *const *verbs) {
        size_t least = MAX(strlen(word) / 3, (size_t) 1) + 1;
        const char *nearest = NULL;

        STRV_FOREACH(v, verbs) {
                size_t d = string_distance(word, *v, strlen(*v));

                if (d < least) {
                        least = d;
                        nearest = *v;
                }
        }
        return nearest;
}

int answer_unknown_verb(const Options *o, char *const *words, char *const *verbs) {
        const char *word = words[0];
        _cleanup_free_ char *escaped = string_escape_cc(word);
        const Answer *answer = find_answer(what_is_meant(words));
        const char *nearest = answer ? NULL : find_nearest(word, verbs);

        if (answer && answer->harmless) {
                message_info(o, "%s: nothing to do, %s", word, answer->text);
                return EXIT_CODE_OK;
        }
        if (answer)
                message_error(o, "pmctl has no %s: %s", word, answer->text);
        else if (nearest)
                message_error(o, "Command not found: %s. Did you mean: pmctl %s", strempty(escaped), nearest);
        else
                message_error(o, "Command not found: %s. pmctl --help lists all.", strempty(escaped));
        return EXIT_CODE_USAGE;
}
