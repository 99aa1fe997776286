/* SPDX-License-Identifier: MIT */
#include "shared/list-pack.h"
#include "shared/string-util.h"
#include "shared/strv.h"

/* ---- writing ---- */

void list_packer_done(ListPacker *p) {
        p->text = mfree(p->text);
        p->words = mfree(p->words);
}

void list_pack_set_slot(ListPacker *p, size_t slot) {
        p->slot = slot;
}

static bool reserve_words(ListPacker *p, size_t n) {
        if (p->error < 0)
                return false;
        if (!GREEDY_REALLOC(p->words, p->n_words_allocated, MAX(p->n_words + n, (size_t) 512)))
                p->error = -ENOMEM;
        return p->error >= 0;
}

void list_pack_word(ListPacker *p, uint32_t v) {
        if (reserve_words(p, 1))
                p->words[p->n_words++] = v;
}

void list_pack_long(ListPacker *p, uint64_t v) {
        list_pack_word(p, (uint32_t) v);
        list_pack_word(p, (uint32_t) (v >> 32));
}

void list_pack_double(ListPacker *p, double v) {
        uint64_t bits;

        static_assert(sizeof bits == sizeof v, "a double is not what it is on the bus");
        memcpy(&bits, &v, sizeof bits);
        list_pack_long(p, bits);
}

/* The place of a string in the text. */
static uint32_t add_text(ListPacker *p, const char *s) {
        size_t n = strlen(s), place = p->size;

        if (p->error < 0)
                return 0;
        if (p->size + n >= UINT32_MAX)
                p->error = -E2BIG;
        else if (!GREEDY_REALLOC(p->text, p->allocated, MAX(p->size + n + 1, (size_t) 4096)))
                p->error = -ENOMEM;
        if (p->error < 0)
                return 0;

        memcpy(p->text + place, s, n + 1);
        p->size += n + 1;
        return (uint32_t) place;
}

static uint32_t add_valid_text(ListPacker *p, const char *s) {
        _cleanup_free_ char *escaped = NULL;

        if (utf8_is_valid(s, strlen(s)))
                return add_text(p, s);
        escaped = string_escape_cc(s);
        if (!escaped) {
                p->error = -ENOMEM;
                return 0;
        }
        return add_text(p, escaped);
}

void list_pack_text(ListPacker *p, const char *s) {
        uint32_t *last = p->slot < LIST_PACK_SLOTS ? p->slots + p->slot++ : NULL, place;

        s = strempty(s);
        if (last && *last > 0 && streq(p->text + *last - 1, s)) {
                list_pack_word(p, *last - 1);
                return;
        }

        place = add_valid_text(p, s);
        if (p->error < 0)
                return;
        if (last)
                *last = place + 1;
        list_pack_word(p, place);
}

void list_pack_strv(ListPacker *p, char *const *l) {
        size_t n = strv_length(l);

        list_pack_word(p, (uint32_t) n);
        STRV_FOREACH(s, l)
                list_pack_text(p, *s);
        p->head.n_pointers += (uint32_t) n + 1;
}

const uint32_t *list_pack_finish(ListPacker *p, size_t *ret_n) {
        if (!reserve_words(p, 0))
                return NULL;
        memcpy(p->words, &p->head, sizeof p->head);
        *ret_n = p->n_words;
        return p->words;
}

/* ---- reading ---- */

int list_unpack_init(ListUnpacker *u, const uint32_t *words, size_t n_words, const char *text, size_t size, ListPackHead *ret) {
        if (n_words == 0)
                return -EBADMSG;
        if (words[0] != LIST_PACK_VERSION)
                return -EOPNOTSUPP;
        if (n_words < LIST_PACK_HEAD_WORDS || (size > 0 && text[size - 1] != '\0'))
                return -EBADMSG;
        memcpy(ret, words, sizeof *ret);

        *u = (ListUnpacker) {
                .words = words + LIST_PACK_HEAD_WORDS,
                .n_words = n_words - LIST_PACK_HEAD_WORDS,
                .text = text,
                .size = size,
        };
        /* Each of them takes a word at least, so that nobody can make us reserve what they have not sent. */
        if (ret->n_rows > u->n_words || ret->n_pointers > u->n_words || ret->n_attributes > u->n_words || ret->n_integers > u->n_words)
                return -EBADMSG;
        return 0;
}

uint32_t list_unpack_word(ListUnpacker *u) {
        if (u->n_words == 0) {
                u->error = -EBADMSG;
                return 0;
        }
        u->n_words--;
        return *u->words++;
}

uint64_t list_unpack_long(ListUnpacker *u) {
        uint64_t low = list_unpack_word(u);

        return low | (uint64_t) list_unpack_word(u) << 32;
}

double list_unpack_double(ListUnpacker *u) {
        uint64_t bits = list_unpack_long(u);
        double v;

        memcpy(&v, &bits, sizeof v);
        return v;
}

const char *list_unpack_text(ListUnpacker *u) {
        uint32_t place = list_unpack_word(u);

        if (place >= u->size) {
                u->error = -EBADMSG;
                return "";
        }
        return u->text + place;
}
