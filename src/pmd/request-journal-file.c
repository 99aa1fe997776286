/* SPDX-License-Identifier: MIT */

#include "pmd/request-journal-internal.h"

#include "pmd/manager.h"
#include "pmd/process-serialize.h"
#include "shared/boot-id.h"
#include "shared/fault.h"
#include "shared/fileio.h"
#include "shared/json-util.h"
#include "shared/log.h"
#include "shared/string-util.h"

#define JOURNAL_VERSION 1
#define JOURNAL_FILE_MAX (64U << 20)
/* A smaller file is not written anew for what nobody needs in it. */
#define COMPACT_SIZE_MIN (256 * 1024)

/* ---- lines ---- */

static int make_line(json_object *o, char **ret) {
        *ret = strjoin(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), "\n");
        return *ret ? 0 : -ENOMEM;
}

static int describe_entry(const RequestJournal *j, const Entry *e, char **ret) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        char boot[SD_ID128_STRING_MAX];
        int r;

        if (!o)
                return -ENOMEM;
        r = boot_id_get(boot);
        if (r < 0)
                return r;

        r = json_add(o, "version", json_object_new_int(JOURNAL_VERSION));
        RET_GATHER(r, json_add(o, "boot", json_object_new_string(boot)));
        RET_GATHER(r, json_add(o, "init_start_time", json_object_new_uint64(j->manager->init_start_time)));
        if (e->token)
                RET_GATHER(r, json_add(o, "token", json_object_new_string(e->token)));
        RET_GATHER(r, json_add(o, "jobs", json_object_get(e->jobs)));
        return r < 0 ? r : make_line(o, ret);
}

static int describe_end(json_object *job, char **ret) {
        _cleanup_(json_object_putp) json_object *o = json_object_new_object();
        int r;

        if (!o)
                return -ENOMEM;
        r = json_add(o, "id", json_object_get(json_object_object_get(job, "id")));
        RET_GATHER(r, json_add(o, "result", json_object_get(json_object_object_get(job, "result"))));
        RET_GATHER(r, json_add(o, "failures", json_object_get(json_object_object_get(job, "failures"))));
        return r < 0 ? r : make_line(o, ret);
}

/* ---- writing ---- */

/* What is on file, as few lines. */
static int describe_all(const RequestJournal *j, char **ret) {
        _cleanup_free_ char *text = strdup("");

        LIST_FOREACH(entries, e, j->entries) {
                _cleanup_free_ char *line = NULL;
                char *longer;
                int r;

                if (!e->on_file)
                        continue;
                r = describe_entry(j, e, &line);
                if (r < 0)
                        return r;
                longer = text ? strjoin(text, line) : NULL;
                if (!longer)
                        return -ENOMEM;
                free(text);
                text = longer;
        }
        *ret = TAKE_PTR(text);
        return *ret ? 0 : -ENOMEM;
}

int journal_check_file(RequestJournal *j) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = state_file_check(&j->file);
        if (r != 0)
                return r;
        r = describe_all(j, &text);
        if (r >= 0)
                r = state_file_append(&j->file, text, strlen(text));
        if (r < 0)
                state_file_lose(&j->file);
        return r;
}

static int append_line(RequestJournal *j, const char *line) {
        int r;

        r = journal_check_file(j);
        if (r < 0)
                return r;
        FAULT_BEFORE(REQUEST_APPEND);
        r = state_file_append(&j->file, line, strlen(line));
        FAULT_AFTER(REQUEST_APPEND);
        return r;
}

int journal_write_entry(RequestJournal *j, Entry *e) {
        _cleanup_free_ char *line = NULL;
        int r;

        r = describe_entry(j, e, &line);
        if (r >= 0)
                r = append_line(j, line);
        e->on_file = r >= 0;
        return r;
}

int journal_write_end(RequestJournal *j, json_object *job) {
        _cleanup_free_ char *line = NULL;
        int r;

        r = describe_end(job, &line);
        return r < 0 ? r : append_line(j, line);
}

/* ---- what nobody needs ---- */

static int replace(RequestJournal *j) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = describe_all(j, &text);
        return r < 0 ? r : state_file_replace(&j->file, text, strlen(text));
}

static int empty(RequestJournal *j) {
        int r;

        FAULT_BEFORE(REQUEST_REMOVE);
        r = state_file_cut(&j->file, 0);
        FAULT_AFTER(REQUEST_REMOVE);
        return r;
}

void journal_compact_file(RequestJournal *j) {
        int r;

        if (j->file.fd < 0 || j->file.size == 0)
                return;
        r = j->entries ? replace(j) : empty(j);
        if (r < 0)
                log_debug_errno(r, "Failed to clear up %s, ignoring: %m", j->file.path);
        j->compact_size = MAX(2 * j->file.size, (off_t) COMPACT_SIZE_MIN);
}

void journal_tidy_file(RequestJournal *j) {
        if (!j->entries || j->file.size > MAX(j->compact_size, (off_t) COMPACT_SIZE_MIN))
                journal_compact_file(j);
}

/* ---- reading ---- */

static int load_entry(RequestJournal *j, json_object *o) {
        json_object *jobs = json_object_object_get(o, "jobs");
        Entry *e;

        if (!json_object_is_type(jobs, json_type_array))
                return -EBADMSG;
        if (journal_get_uint(o, "version") != JOURNAL_VERSION || !manager_is_of_this_boot(j->manager, o))
                return 0;

        e = journal_add_entry(j, json_object_get_string(json_object_object_get(o, "token")));
        if (!e)
                return -ENOMEM;
        e->on_file = true;
        json_object_put(e->jobs);
        e->jobs = json_object_get(jobs);
        for (size_t i = 0; i < journal_array_length(jobs); i++)
                e->n_open += !journal_job_has_ended(json_object_array_get_idx(jobs, i));
        return 0;
}

static void load_end(RequestJournal *j, json_object *o) {
        json_object *job;
        Entry *e = journal_find_open(j, journal_get_uint(o, "id"), &job);

        if (!e)
                return;
        (void) json_add(job, "failures", json_object_get(json_object_object_get(o, "failures")));
        (void) json_add(job, "result", json_object_get(json_object_object_get(o, "result")));
        e->n_open--;
}

static int load_line(RequestJournal *j, const char *line) {
        _cleanup_(json_object_putp) json_object *o = json_tokener_parse(line);

        if (!o)
                return -EBADMSG;
        if (!json_object_object_get(o, "result"))
                return load_entry(j, o);
        load_end(j, o);
        return 0;
}

int journal_load_file(RequestJournal *j) {
        _cleanup_free_ char *text = NULL;
        char *line, *end;
        int r;

        r = state_file_open(&j->file);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = read_full_fd(j->file.fd, JOURNAL_FILE_MAX, &text, NULL);
        if (r < 0)
                return r;

        for (line = text; (end = strchr(line, '\n')); line = end + 1) {
                *end = 0;
                r = load_line(j, line);
                if (r < 0)
                        log_warning_errno(r, "Cannot read a request of the pmd before, ignoring: %m");
        }
        /* The last line may have been cut by the end of that pmd: nothing of it was done. */
        (void) state_file_cut(&j->file, line - text);
        return 0;
}
