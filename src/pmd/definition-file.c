/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <unistd.h>

#include "pmd/definition-file.h"

#include "pmd/state-file.h"
#include "shared/fault.h"
#include "shared/fileio.h"
#include "shared/log.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

#define DEFINITION_FILE_MAX (1U << 30)
/* A smaller one is not written anew for what is of no use in it. */
#define COMPACT_SIZE_MIN (256 * 1024)

typedef struct Record {
        unsigned serial;
        bool needed;
        bool kept; /* for a newer pmd, which may need it */
        off_t offset;
        size_t size; /* of the line */
} Record;

struct DefinitionFile {
        StateFile file;
        Record *records; /* by serial, ascending, as in the file */
        size_t n_records, n_allocated, n_needed;
        off_t size_needed;
        unsigned last_serial;
};

int definition_file_new(const char *runtime_dir, DefinitionFile **ret) {
        DefinitionFile *f = new0(DefinitionFile, 1);

        if (!f || state_file_init(&f->file, runtime_dir, DEFINITION_FILE) < 0) {
                free(f);
                return -ENOMEM;
        }
        *ret = f;
        return 0;
}

DefinitionFile *definition_file_free(DefinitionFile *f) {
        if (!f)
                return NULL;
        state_file_done(&f->file);
        free(f->records);
        return mfree(f);
}

/* ---- records ---- */

static void forget_records(DefinitionFile *f) {
        f->n_records = f->n_needed = 0;
        f->size_needed = 0;
}

static Record *find_record(const DefinitionFile *f, unsigned serial) {
        size_t lo = 0, hi = f->n_records;

        while (lo < hi) {
                size_t mid = lo + (hi - lo) / 2;

                if (f->records[mid].serial < serial)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo < f->n_records && f->records[lo].serial == serial ? f->records + lo : NULL;
}

static int add_record(DefinitionFile *f, unsigned serial, off_t offset, size_t size) {
        if (!GREEDY_REALLOC(f->records, f->n_allocated, f->n_records + 1))
                return -ENOMEM;
        f->records[f->n_records++] = (Record) { .serial = serial, .offset = offset, .size = size };
        f->last_serial = serial;
        return 0;
}

static void need_record(DefinitionFile *f, Record *record) {
        record->needed = true;
        f->n_needed++;
        f->size_needed += (off_t) record->size;
}

static void drop_record(DefinitionFile *f, Record *record) {
        record->needed = false;
        f->n_needed--;
        f->size_needed -= (off_t) record->size;
}

/* ---- what nobody needs ---- */

static int read_record(const DefinitionFile *f, const Record *record, char *buf) {
        ssize_t n = pread(f->file.fd, buf, record->size, record->offset);

        if (n < 0)
                return -errno;
        return (size_t) n == record->size ? 0 : -EIO;
}

static int compact(DefinitionFile *f) {
        _cleanup_free_ char *text = malloc((size_t) f->size_needed + 1);
        size_t n = 0, at = 0;
        int r;

        if (!text)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_records; i++)
                if (f->records[i].needed) {
                        r = read_record(f, f->records + i, text + at);
                        if (r < 0)
                                return r;
                        at += f->records[i].size;
                }
        r = state_file_replace(&f->file, text, at);
        if (r < 0)
                return r;

        at = 0;
        for (size_t i = 0; i < f->n_records; i++)
                if (f->records[i].needed) {
                        f->records[n] = f->records[i];
                        f->records[n].offset = (off_t) at;
                        at += f->records[n++].size;
                }
        f->n_records = n;
        return 0;
}

/* Not what is in use by a pmd that dies here: states that name a definition have been overwritten before. */
static int empty(DefinitionFile *f) {
        int r;

        FAULT_BEFORE(STATE_REMOVE);
        r = state_file_cut(&f->file, 0);
        FAULT_AFTER(STATE_REMOVE);
        forget_records(f);
        return r;
}

static void tidy(DefinitionFile *f, off_t unneeded_max) {
        int r = 0;

        if (f->file.fd < 0 || f->file.size == f->size_needed)
                return;
        if (f->n_needed == 0)
                r = empty(f);
        else if (f->file.size - f->size_needed > unneeded_max)
                r = compact(f);
        if (r < 0)
                log_debug_errno(r, "Failed to clear up %s, ignoring: %m", f->file.path);
}

/* ---- */

int definition_file_check(DefinitionFile *f) {
        int r;

        r = state_file_check(&f->file);
        if (r == 0)
                forget_records(f);
        return r;
}

void definition_file_check_path(DefinitionFile *f) {
        state_file_check_path(&f->file);
}

int definition_file_add(DefinitionFile *f, const char *json, unsigned *ret_serial) {
        _cleanup_free_ char *line = NULL;
        unsigned serial = f->last_serial + 1;
        off_t offset = f->file.size;
        size_t n;
        int r;

        line = strprintf("%u %s\n", serial, json);
        if (!line || !GREEDY_REALLOC(f->records, f->n_allocated, f->n_records + 1))
                return -ENOMEM;
        n = strlen(line);
        FAULT_BEFORE(DEFINITION_WRITE);
        r = state_file_append(&f->file, line, n);
        FAULT_AFTER(DEFINITION_WRITE);
        if (r < 0)
                return r;
        r = add_record(f, serial, offset, n);
        if (r < 0)
                return r;
        need_record(f, f->records + f->n_records - 1);
        *ret_serial = serial;
        return 0;
}

void definition_file_remove(DefinitionFile *f, unsigned serial) {
        Record *record = find_record(f, serial);

        if (!record || !record->needed || record->kept)
                return;
        drop_record(f, record);
        tidy(f, MAX((off_t) COMPACT_SIZE_MIN, f->file.size) / 2);
}

int definition_file_read(DefinitionFile *f, unsigned serial, char **ret_json) {
        const Record *record = find_record(f, serial);
        _cleanup_free_ char *line = NULL;
        int r;

        if (!record)
                return -ENOENT;
        line = malloc(record->size);
        if (!line)
                return -ENOMEM;
        r = read_record(f, record, line);
        if (r < 0)
                return r;
        line[record->size - 1] = 0;
        *ret_json = strdup(line + strcspn(line, " "));
        return *ret_json ? 0 : -ENOMEM;
}

/* ---- at start-up ---- */

/* What is no line of ours is of no use to anybody. */
static int load_line(DefinitionFile *f, const char *line, off_t offset, size_t n) {
        _cleanup_free_ char *number = strndup(line, strcspn(line, " \n"));
        unsigned serial;

        if (!number)
                return -ENOMEM;
        if (safe_atou(number, &serial) < 0 || serial <= f->last_serial)
                return 0;
        return add_record(f, serial, offset, n);
}

int definition_file_load(DefinitionFile *f) {
        _cleanup_free_ char *text = NULL;
        const char *line, *end;
        size_t size;
        int r;

        r = state_file_open(&f->file);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = read_full_fd(f->file.fd, DEFINITION_FILE_MAX, &text, &size);
        if (r < 0)
                return r;

        for (line = text; r >= 0 && (end = memchr(line, '\n', size - (size_t) (line - text))); line = end + 1)
                r = load_line(f, line, line - text, (size_t) (end + 1 - line));
        if (r < 0)
                return r;
        /* The last one may have been cut by the end of that pmd. */
        if (line < text + size)
                (void) state_file_cut(&f->file, line - text);
        return 0;
}

void definition_file_need(DefinitionFile *f, unsigned serial) {
        Record *record = find_record(f, serial);

        if (record && !record->needed)
                need_record(f, record);
}

void definition_file_clean(DefinitionFile *f, bool keep) {
        for (size_t i = 0; keep && i < f->n_records; i++) {
                f->records[i].kept = true;
                if (!f->records[i].needed)
                        need_record(f, f->records + i);
        }
        tidy(f, 0);
}
