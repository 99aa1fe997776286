/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/log-line.h"
#include "shared/time-util.h"

/* What lines look like in files: as they are, with a date in front, or as JSON objects, as pm2 writes them. */

typedef struct LogFormat {
        char *date_format; /* NULL: none */
        bool json;
        char *json_tail;   /* what follows the time stamp in every object */
} LogFormat;

/* Memory that is used again and again. */
typedef struct LogText {
        char *data;
        size_t n, n_allocated;
} LogText;

int log_format_init(LogFormat *f, const char *date_format, bool json, const char *kind, unsigned id, const char *app);
void log_format_done(LogFormat *f);

static inline bool log_format_is_plain(const LogFormat *f) {
        return !f->json && !f->date_format;
}

/* Calls emit() with the lines of the block in that form, all with the date of now. What there is no memory for comes as it is. */
void log_format_block(const LogFormat *f, const LogBlock *block, usec_t realtime, LogText *text, log_block_t emit, void *userdata);
