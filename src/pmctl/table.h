/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmctl/pmctl-util.h"

/* A table in a frame, as pm2 draws it. Cells are added row by row; what is too long for its column is cut and ends
 * in "…". */

typedef struct TableColumn {
        const char *title; /* NULL in the first column: no head */
        size_t width_min;  /* with a blank on either side; the column grows with its content where there is room */
        size_t width_max;  /* 0: any */
} TableColumn;

typedef struct Table Table;

int table_new(const TableColumn *columns, size_t n, Table **ret); /* columns: copied, but for the titles */
Table *table_free(Table *t);
DEFINE_CLEANUP_FUNC(Table *, table_free);

/* Takes a copy of the text with control characters escaped. 0 or a negative errno. */
int table_add(Table *t, const char *text, Color c);

/* What it takes to draw it with every column at its least. */
size_t table_width_min(const Table *t);

/* 0 or a negative errno. */
int table_print(const Table *t, const Options *o, size_t width);

/* Columns of the terminal; SIZE_MAX where standard output is none. */
size_t terminal_width(void);
