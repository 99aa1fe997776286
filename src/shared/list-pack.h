/* SPDX-License-Identifier: MIT */
#pragma once

#include "shared/macro.h"

/* The form in which libpmd gets the list of processes: two arrays, so that sd-bus copies them as they are. A row of ListProcesses() has some
 * fifty items, and to look at each of them, twice, is what a list would take its time for.
 *
 * The text has the strings, each ended by a NUL. The words are first those of ListPackHead, and then the rows, see process-bus.c, process-list-bus.c and
 * pmd-list-packed.c. In them a string is its place in the text, a number of 64 bits two words (the low one first), and an array its length and then
 * its items. */

#define LIST_PACK_VERSION 1U

/* What the reader makes room for. */
typedef struct ListPackHead {
        uint32_t version, n_rows;
        uint32_t n_pointers;   /* in arrays of strings, with a NULL for the end of each */
        uint32_t n_attributes;
        uint32_t n_integers;   /* in arrays of integers */
} ListPackHead;

#define LIST_PACK_HEAD_WORDS (sizeof(ListPackHead) / sizeof(uint32_t))

typedef enum ListPackType {
        LIST_PACK_STRING,
        LIST_PACK_STRV,
        LIST_PACK_BOOL,
        LIST_PACK_INT,
        LIST_PACK_INTV,
} ListPackType;

/* ---- writing ---- */

#define LIST_PACK_SLOTS 192U

/* Once memory runs out (error is set then) the rest is left out. */
typedef struct ListPacker {
        ListPackHead head;
        char *text;
        size_t size, allocated;
        uint32_t *words;
        size_t n_words, n_words_allocated;
        uint32_t slots[LIST_PACK_SLOTS]; /* the places of the strings that were last written in each, + 1 */
        size_t slot;
        int error;
} ListPacker;

#define LIST_PACKER_INIT { .head.version = LIST_PACK_VERSION, .n_words = LIST_PACK_HEAD_WORDS }

void list_packer_done(ListPacker *p);

/* Strings that follow come into these slots, one after the other: one that is what its slot had before is not written a second time. */
void list_pack_set_slot(ListPacker *p, size_t slot);

void list_pack_word(ListPacker *p, uint32_t v);
void list_pack_long(ListPacker *p, uint64_t v);
void list_pack_double(ListPacker *p, double v);
/* What is not valid UTF-8 is escaped, as bus_message_append_text() does it. */
void list_pack_text(ListPacker *p, const char *s);
void list_pack_strv(ListPacker *p, char *const *l);

/* The words with the head in front, which belong to p. NULL if memory ran out. */
const uint32_t *list_pack_finish(ListPacker *p, size_t *ret_n);

/* ---- reading ---- */

/* What is not there is 0 or "", and error is set. */
typedef struct ListUnpacker {
        const uint32_t *words;
        size_t n_words;
        const char *text;
        size_t size;
        int error;
} ListUnpacker;

/* Checks the head. 0; -EOPNOTSUPP for another version; -EBADMSG. */
int list_unpack_init(ListUnpacker *u, const uint32_t *words, size_t n_words, const char *text, size_t size, ListPackHead *ret);

uint32_t list_unpack_word(ListUnpacker *u);
uint64_t list_unpack_long(ListUnpacker *u);
double list_unpack_double(ListUnpacker *u);
const char *list_unpack_text(ListUnpacker *u);
