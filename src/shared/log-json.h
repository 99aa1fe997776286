/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* Reads lines that are JSON objects, as the loggers of Node write them (pino, bunyan, winston, log4js), for the journal. */

#define LOG_JSON_FIELDS_MAX 64u

typedef struct LogJson {
        int priority;        /* 0 to 7, -1: the line does not tell */
        char *message;       /* NULL: the line does not tell; n_message bytes and a NUL */
        size_t n_message;
        char *fields;        /* as journald takes them: NAME=value, or NAME, newline, 64 bits of length and the value; each with a newline behind */
        size_t n_fields, n_allocated;
} LogJson;

/* 1, 0 if the line is no JSON object, or -ENOMEM. Names become upper case; those that the journal or pmd gives a meaning are left out. */
int log_json_parse(const char *line, size_t n, LogJson *ret);
void log_json_done(LogJson *j);

/* "info", "warn", … or a number of pino's and bunyan's: 0 to 7, or -EINVAL. */
int log_json_level(const char *level);

/* Appends a field in that form. */
int log_json_add_field(LogJson *j, const char *name, const char *value, size_t n);
