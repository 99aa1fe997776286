/* SPDX-License-Identifier: MIT */
#include "libpmd/pmd-internal.h"
#include "shared/list-pack.h"
#include "shared/pmd-protocol.h"

/* A list in one piece of memory: the processes, what they refer to, and the text as pmd sent it. */
typedef struct Reader {
        ListUnpacker unpacker;
        ListPackHead left; /* room */
        pmd_attribute *attributes;
        int64_t *integers;
        char **pointers;
} Reader;

/* 0 and an error if there is no room for so many. */
static uint32_t take_room(Reader *r, uint32_t *left, uint32_t n) {
        if (n > *left) {
                r->unpacker.error = -EBADMSG;
                return 0;
        }
        *left -= n;
        return n;
}

static char *read_text(Reader *r) {
        return (char *) list_unpack_text(&r->unpacker);
}

static char **read_strv(Reader *r) {
        uint32_t n = list_unpack_word(&r->unpacker);
        char **l = r->pointers;

        /* With its end, and no 0 for UINT32_MAX of them. */
        if (n == UINT32_MAX || take_room(r, &r->left.n_pointers, n + 1) == 0) {
                r->unpacker.error = -EBADMSG;
                return NULL;
        }
        for (uint32_t i = 0; i < n; i++)
                *r->pointers++ = read_text(r);
        *r->pointers++ = NULL;
        return l;
}

static void read_integers(Reader *r, pmd_attribute *a) {
        a->n_integers = take_room(r, &r->left.n_integers, list_unpack_word(&r->unpacker));
        a->integers = r->integers;
        for (size_t i = 0; i < a->n_integers; i++)
                *r->integers++ = (int64_t) list_unpack_long(&r->unpacker);
}

static void read_attribute(Reader *r, pmd_attribute *a) {
        *a = (pmd_attribute) { .key = read_text(r) };

        switch (list_unpack_word(&r->unpacker)) {
        case LIST_PACK_STRING:
                a->type = PMD_ATTRIBUTE_STRING;
                a->string = read_text(r);
                break;
        case LIST_PACK_STRV:
                a->type = PMD_ATTRIBUTE_STRV;
                a->strv = read_strv(r);
                break;
        case LIST_PACK_BOOL:
                a->type = PMD_ATTRIBUTE_BOOL;
                a->integer = list_unpack_word(&r->unpacker);
                break;
        case LIST_PACK_INT:
                a->type = PMD_ATTRIBUTE_INT;
                a->integer = (int64_t) list_unpack_long(&r->unpacker);
                break;
        case LIST_PACK_INTV:
                a->type = PMD_ATTRIBUTE_INTV;
                read_integers(r, a);
                break;
        default:
                r->unpacker.error = -EBADMSG;
        }
}

static void read_fields(Reader *r, pmd_process *p) {
        ListUnpacker *u = &r->unpacker;

        p->id = list_unpack_word(u);
        p->name = read_text(r);
        p->name_space = read_text(r);
        p->instance = list_unpack_word(u);
        p->status = read_text(r);
        p->pid = list_unpack_word(u);
        p->exec_mode = read_text(r);
        p->start_usec = list_unpack_long(u);
        p->created_usec = list_unpack_long(u);
        p->n_restarts = list_unpack_word(u);
        p->unstable_restarts = list_unpack_word(u);
        p->exit_code = (int) list_unpack_word(u);
        p->exit_signal = (int) list_unpack_word(u);
        p->exit_reason = read_text(r);
        p->memory = list_unpack_long(u);
        p->cpu_nsec = list_unpack_long(u);
        p->cpu_percent = list_unpack_double(u);
        p->tasks = list_unpack_long(u);
        p->user = read_text(r);
        p->watching = list_unpack_word(u);
        p->version = read_text(r);
        p->unit = read_text(r);
        p->executable = read_text(r);
        p->interpreter = read_text(r);
        p->cwd = read_text(r);
        p->out_log_path = read_text(r);
        p->error_log_path = read_text(r);
        p->pid_file = read_text(r);
        p->unique_id = read_text(r);
        p->status_text = read_text(r);
        p->interpreter_args = read_strv(r);
        p->args = read_strv(r);
        p->notes = read_strv(r);
}

/* The row before is NULL for the first one. */
static void read_row(Reader *r, pmd_process *p, const pmd_process *before, bool with_environment) {
        uint32_t n;

        *p = (pmd_process) {};
        read_fields(r, p);

        n = list_unpack_word(&r->unpacker);
        if (n > 0) {
                p->n_attributes = take_room(r, &r->left.n_attributes, n - 1);
                p->attributes = r->attributes;
                for (size_t i = 0; i < p->n_attributes; i++)
                        read_attribute(r, r->attributes++);
        } else if (before) {
                p->attributes = before->attributes;
                p->n_attributes = before->n_attributes;
        }

        if (with_environment)
                p->environment = list_unpack_word(&r->unpacker) > 0 ? read_strv(r) : before ? before->environment : NULL;
}

static int read_rows(Reader *r, pmd_process *items, bool with_environment) {
        for (uint32_t i = 0; i < r->left.n_rows && r->unpacker.error >= 0; i++)
                read_row(r, items + i, i > 0 ? items + i - 1 : NULL, with_environment);
        if (r->unpacker.error < 0)
                return r->unpacker.error;
        return r->unpacker.n_words == 0 ? 0 : -EBADMSG;
}

static int read_list(sd_bus_message *m, bool with_environment, pmd_process **ret, size_t *ret_n) {
        _cleanup_free_ ProcessListHead *head = NULL;
        size_t size, n_bytes, n;
        const void *text, *words;
        ListPackHead h;
        Reader reader;
        char *p;
        int r;

        r = sd_bus_message_read_array(m, 'y', &text, &size);
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(m, 'u', &words, &n_bytes);
        if (r < 0)
                return r;
        r = list_unpack_init(&reader.unpacker, words, n_bytes / sizeof(uint32_t), text, size, &h);
        if (r < 0)
                return r;
        if (h.n_rows == 0 || size == 0) {
                *ret = NULL;
                *ret_n = 0;
                return h.n_rows == 0 ? 0 : -EBADMSG;
        }

        n = sizeof *head + h.n_rows * sizeof(pmd_process) + h.n_attributes * sizeof(pmd_attribute) + h.n_integers * sizeof(int64_t) +
                h.n_pointers * sizeof(char *);
        head = malloc(n + size);
        if (!head)
                return -ENOMEM;
        head->in_one_piece = true;
        p = (char *) head + n;
        reader.unpacker.text = memcpy(p, text, size);
        reader.left = h;
        reader.attributes = (pmd_attribute *) (head->items + h.n_rows);
        reader.integers = (int64_t *) (reader.attributes + h.n_attributes);
        reader.pointers = (char **) (reader.integers + h.n_integers);

        r = read_rows(&reader, head->items, with_environment);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(head)->items;
        *ret_n = h.n_rows;
        return 0;
}

int list_packed(pmd_connection *c, char *const *targets, unsigned flags, pmd_process **ret, size_t *ret_n, pmd_error *reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        bool with_environment = flags & PMD_LIST_ENVIRONMENT;
        int r;

        r = connection_new_call(c, PMD_INTERFACE_MANAGER, "ListPacked", &m);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, (char **) targets);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", (int) with_environment);
        if (r < 0)
                return error_from_errno(c, r, reterr);

        r = connection_call(c, m, c->timeout_usec, &reply, reterr);
        if (r == -EBADR) /* no such method */
                return -EOPNOTSUPP;
        if (r < 0)
                return r;

        r = read_list(reply, with_environment, ret, ret_n);
        return r < 0 && r != -EOPNOTSUPP ? error_from_errno(c, r, reterr) : r;
}
