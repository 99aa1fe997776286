/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "shared/macro.h"
#include "shared/time-util.h"

/* What happened to a process last, a bounded number of events: pmd writes it down, and pmctl, which has to explain a process while no pmd
 * runs, reads it from pmd's files. What happens again and again is one event with a count. */

#define EVENT_HISTORY_MAX 16U
#define EVENT_TEXT_MAX 240U

typedef enum EventKind {
        EVENT_EXITED,    /* its main process ended */
        EVENT_FAILED,    /* it could not be started; text says why */
        EVENT_REQUESTED, /* somebody asked for something; text says what */
        EVENT_TRIGGERED, /* something else than an exit or a request restarted it; text says what */
        EVENT_OOM_KILL,  /* the kernel killed one of its processes for lack of memory; text says which, and the limit */
        EVENT_RELOAD_FAILED, /* the new process that was to take its place; text says why */
        _EVENT_KIND_MAX,
        _EVENT_KIND_INVALID = -EINVAL,
} EventKind;

const char *event_kind_to_string(EventKind k);
EventKind event_kind_from_string(const char *s);

/* What followed from an exit. */
typedef enum EventDecision {
        EVENT_DECISION_NONE,    /* not known yet */
        EVENT_DECISION_RESTART,
        EVENT_DECISION_RESTART_LATER,
        EVENT_DECISION_GIVE_UP,
        EVENT_DECISION_STAY_DOWN,
        _EVENT_DECISION_MAX,
        _EVENT_DECISION_INVALID = -EINVAL,
} EventDecision;

const char *event_decision_to_string(EventDecision d);
EventDecision event_decision_from_string(const char *s);

typedef struct HistoryEvent {
        EventKind kind;
        EventDecision decision;
        usec_t first, last;  /* CLOCK_REALTIME */
        unsigned count;
        int code, signal;    /* -1, 0: none */
        char reason[16];     /* as in LastExit */
        usec_t ran;          /* EVENT_EXITED: how long it had run, the last time */
        char *text;          /* why that was decided, or as the kind says; NULL: nothing */
        uint32_t uid, pid;   /* EVENT_REQUESTED: who; pid 0: unknown */
        char command[16];
} HistoryEvent;

typedef struct EventHistory {
        HistoryEvent *events; /* oldest first */
        size_t n, n_allocated;
} EventHistory;

void event_history_done(EventHistory *h);

/* Copies e, whose times and count it sets itself; the oldest one makes room. An exit or failure like the one before is counted there. The
 * new event, still of the history, in ret. 0 or -ENOMEM. */
int event_history_add(EventHistory *h, const HistoryEvent *e, usec_t realtime, HistoryEvent **ret);

/* What followed from the last exit; nothing if there is none that waits for it. */
int event_history_decide(EventHistory *h, EventDecision decision, const char *text);

/* As JSON of at most about so many bytes, the latest events. New reference. */
int event_history_save(const EventHistory *h, size_t max, json_object **ret);
/* Adds what can be read; o may be NULL. 0 or -ENOMEM. */
int event_history_restore(EventHistory *h, json_object *o);
