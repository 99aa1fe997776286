/* SPDX-License-Identifier: MIT */
#pragma once

#include "pmd/pmd-forward.h"
#include "shared/list-pack.h"

/* Rows of ListPacked(). A definition or an environment that is that of the row before is not written again. */
typedef struct ListRows {
        ListPacker packer;
        const Process *last;           /* of the row before; NULL: this is the first one */
        const Process *environment_of; /* what was written last; NULL: none yet */
} ListRows;

#define LIST_ROWS_INIT { .packer = LIST_PACKER_INIT }

void list_rows_done(ListRows *l);

/* 0 or a negative errno. */
int list_rows_add(ListRows *l, Process *p, bool with_environment);
