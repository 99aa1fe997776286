/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"
#include "shared/event-history.h"
#include "shared/instance.h"

/* "pmctl why": what is known of a process, and what that means in plain words. */

#define WHY_LINES_MAX 12U
#define WHY_NEW_LINES_MAX 20U

typedef struct WhyFacts {
        uint32_t id, pid;        /* pid 0: none */
        char *name, *status;     /* pm2's word */
        char *user, *cwd;        /* NULL: unknown */
        char *script;            /* what is run; NULL: unknown */
        bool script_is_gone, cwd_is_gone;
        bool says_when_ready;
        char main_state;         /* of its main process, as in /proc; 0: unknown */
        bool no_pmd;             /* from the files of a pmd that does not run */
        bool alive;              /* no_pmd: pid is still the process that it was */
        usec_t now;              /* CLOCK_REALTIME, as all times here */
        usec_t started;          /* 0: never */
        usec_t next_restart;     /* 0: none */
        unsigned n_restarts;
        char *memory_max;        /* its limit; NULL: none, or unknown */
        char *status_text;       /* what it says of itself */
        char **notes;
        EventHistory events;
        char **lines;            /* its last ones, escaped */
        bool lines_are_errors;
} WhyFacts;

void why_facts_done(WhyFacts *f);
void why_facts_free_many(WhyFacts *facts, size_t n);

/* why-facts.c. An ExitCode; what went wrong has been printed. */
int why_facts_from_pmd(const Options *o, pmd_connection *c, const char *target, WhyFacts **ret, size_t *ret_n);
int why_facts_from_files(const Options *o, const char *target, WhyFacts **ret, size_t *ret_n);

/* Where the logs ended: how large the files were, and the time. */
typedef struct LinesSince {
        usec_t realtime;
        uint64_t out, error;
} LinesSince;

/* why-lines.c: the last lines of a process, errors rather than others. since: only newer ones, and more of them; NULL: any. 0 or -ENOMEM; what
 * cannot be read is left out. */
int why_read_lines(WhyFacts *f, InstanceScope scope, const char *out_path, const char *error_path, const LinesSince *since);

/* The same file, pure: of lines as they were written the last ones, escaped, and without most frames of stack traces: what failed stands above them. *lines is
 * consumed. */
int why_choose_lines(char ***lines, unsigned max, char ***ret);

/* why-explain.c, pure: why it is as it is, sentence by sentence, and what to do. 0 or -ENOMEM. */
int why_explain(const WhyFacts *f, char ***ret_sentences);
int why_advise(const WhyFacts *f, char ***ret_advice);
/* An event in a few words, without its time; new memory. */
char *why_describe_event(const HistoryEvent *e);
