/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/request-journal.h"
#include "shared/list.h"

typedef struct Entry {
        LIST_FIELDS(struct Entry, entries);
        unsigned serial;      /* names the file; 0: not written yet */
        char *token;          /* NULL: its client gave none, and cannot come back */
        json_object *jobs;    /* as in the file; with "result" and "failures" if they have ended */
        size_t n_open;
} Entry;

struct RequestJournal {
        Manager *manager;
        char *directory;
        LIST_HEAD(Entry, entries); /* in their order */
        unsigned next_serial;
        bool resuming;

        Entry *unwritten;     /* of the message that is being handled, or was in this turn of the loop */
        sd_bus_message *message; /* a request with a token */
        char *token;
};

/* NULL if there is none. */
json_object *journal_member(json_object *o, const char *key);
size_t journal_array_length(json_object *array); /* 0 if it is none */
unsigned journal_get_uint(json_object *o, const char *key);
bool journal_job_has_ended(json_object *job);
