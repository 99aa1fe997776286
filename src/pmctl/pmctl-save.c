/* SPDX-License-Identifier: MIT */
#include "pmctl/pmctl-util.h"
#include "shared/pmd-protocol.h"
#include "shared/string-util.h"
#include "shared/strv.h"

static bool has_name(const pmd_error *e, const char *name) {
        return streq_ptr(e->name, name);
}

int verb_save(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *path = NULL;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        message_info(o, "Saving current process list...");
        r = pmd_save(c, o->force, &path, NULL, &e);
        if (has_name(&e, PMD_ERROR_NOTHING_TO_SAVE)) {
                message_warn(o, "PM2 is not managing any process, skipping save...");
                message_warn(o, "To force saving use: pmctl save --force");
                return EXIT_CODE_OK;
        }
        if (r < 0)
                return report_error(o, r, &e);

        message_info(o, "Successfully saved in %s", path);
        return EXIT_CODE_OK;
}

int verb_cleardump(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        _cleanup_free_ char *path = NULL;
        int r;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        r = pmd_clear_saved(c, &path, &e);
        if (r < 0)
                return report_error(o, r, &e);
        message_info(o, "Successfully created %s", path);
        return EXIT_CODE_OK;
}

static bool has_failed(const pmd_result *result, uint32_t id) {
        for (size_t i = 0; i < result->n_failures; i++)
                if (result->failures[i].process_id == id)
                        return true;
        return false;
}

static bool is_among(const pmd_result *result, uint32_t id) {
        for (size_t i = 0; i < result->n_processes; i++)
                if (result->process_ids[i] == id)
                        return true;
        return false;
}

static void warn_escaped(const Options *o, const char *text, const char *rest) {
        _cleanup_free_ char *escaped = string_escape_cc(text);

        message_warn(o, "%s%s", strempty(escaped), rest);
}

static int report_restored(const Options *o, pmd_connection *c, const pmd_restored *restored, const pmd_result *result) {
        _cleanup_process_list_ ProcessList l = {};
        int r;

        message_info(o, "Restoring processes located in %s", restored->path);
        STRV_FOREACH(w, restored->warnings)
                warn_escaped(o, *w, "");
        STRV_FOREACH(name, restored->skipped)
                warn_escaped(o, *name, " is there already, skipping it");

        r = fetch_processes(o, c, NULL, 0, &l);
        if (r != EXIT_CODE_OK)
                return r;
        for (size_t i = 0; i < l.n; i++) {
                _cleanup_free_ char *path = string_escape_cc(strempty(l.items[i].executable));

                if (is_among(result, l.items[i].id) && !has_failed(result, l.items[i].id))
                        message_info(o, "Process %s restored", strempty(path));
        }
        return report_failures(o, &l, result);
}

int verb_resurrect(int argc, char *argv[], const Options *o) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_restored_free) pmd_restored restored = {};
        _cleanup_(pmd_result_free) pmd_result result = {};
        _cleanup_(pmd_error_free) pmd_error e = {};
        int r, code;

        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;

        message_info(o, "Resurrecting");
        r = pmd_resurrect(c, &restored, &result, &e);
        if (has_name(&e, PMD_ERROR_NO_SAVED_LIST)) {
                message_error(o, "No processes saved; DUMP file doesn't exist");
                return EXIT_CODE_OK;
        }
        if (r < 0 && r != -EREMOTEIO)
                return report_error(o, r, &e);

        code = report_restored(o, c, &restored, &result);
        r = print_process_table(o, c);
        return code == EXIT_CODE_OK ? r : code;
}
