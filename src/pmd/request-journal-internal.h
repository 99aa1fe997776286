/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>

#include "pmd/request-journal.h"
#include "pmd/state-file.h"
#include "shared/list.h"

typedef struct Entry {
        LIST_FIELDS(struct Entry, entries);
        bool on_file;
        char *token;          /* NULL: its client gave none, and cannot come back */
        json_object *jobs;    /* as in the file; with "result" and "failures" if they have ended */
        size_t n_open;
} Entry;

struct RequestJournal {
        Manager *manager;
        StateFile file;
        off_t compact_size;        /* when it is larger it is written anew, without what nobody needs */
        LIST_HEAD(Entry, entries); /* in their order */
        bool resuming;

        Entry *unwritten;     /* of the message that is being handled, or was in this turn of the loop */
        sd_bus_message *message; /* a request with a token */
        char *token;
};

/* NULL if there is none. */
size_t journal_array_length(json_object *array); /* 0 if it is none */
unsigned journal_get_uint(json_object *o, const char *key);
bool journal_job_has_ended(json_object *job);

Entry *journal_add_entry(RequestJournal *j, const char *token);
Entry *journal_find_open(const RequestJournal *j, uint32_t id, json_object **ret_job);

/* request-journal-file.c: a line for each request, and one for each job that has ended. */
int journal_check_file(RequestJournal *j); /* what somebody has removed is made anew */
int journal_write_entry(RequestJournal *j, Entry *e);
int journal_write_end(RequestJournal *j, json_object *job);
void journal_tidy_file(RequestJournal *j);
void journal_compact_file(RequestJournal *j);
int journal_load_file(RequestJournal *j); /* sets n_open of the entries */
