/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdio.h>

#include "shared/macro.h"

/* Writes JSON text from front to back, on one line as JSON.stringify() does, without building a tree first: a list of
 * many processes with their environments is most of what pmctl is asked for. The first failure sticks;
 * json_writer_finish() returns it. */
typedef struct JsonWriter {
        char *text;
        size_t size, allocated;
        bool comma; /* the next member needs one before it */
        FILE *stream; /* where it goes, a piece at a time; NULL: all is kept until somebody asks for it */
        int error;
} JsonWriter;

void json_writer_done(JsonWriter *w);
#define _cleanup_json_writer_ _cleanup_(json_writer_done)

/* key: NULL inside an array and at the top. */
void json_writer_begin(JsonWriter *w, const char *key, char bracket); /* '{' or '[' */
void json_writer_end(JsonWriter *w, char bracket);
void json_writer_string(JsonWriter *w, const char *key, const char *value); /* NULL: null */
void json_writer_strv(JsonWriter *w, const char *key, char *const *value);
void json_writer_int(JsonWriter *w, const char *key, int64_t value);
void json_writer_uint(JsonWriter *w, const char *key, uint64_t value);
void json_writer_bool(JsonWriter *w, const char *key, bool value);
void json_writer_json(JsonWriter *w, const char *key, const char *json); /* as it is */
/* Rounded to a tenth. */
void json_writer_tenths(JsonWriter *w, const char *key, double value);

/* All that another one holds, members without what is around them, which may be put in several places. */
void json_writer_members(JsonWriter *w, const JsonWriter *from);
void json_writer_clear(JsonWriter *w);

/* The text, NUL-terminated, still the writer's; not of one that has a stream. 0 or a negative errno. */
int json_writer_finish(JsonWriter *w, const char **ret);

/* Writes it, or what is left of it, and a newline, behind what the stream holds. 0 or a negative errno. */
int json_writer_print(JsonWriter *w, FILE *f);
