/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "pmctl/pmctl-util.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

/* Lines and messages to processes. */

static int read_id(const Options *o, const char *s, uint32_t *ret) {
        unsigned id;

        if (safe_atou(s, &id) < 0) {
                message_error(o, "pm_id must be a process number (not a process name)");
                return EXIT_CODE_USAGE;
        }
        *ret = id;
        return EXIT_CODE_OK;
}

typedef int (*send_t)(pmd_connection *c, uint32_t id, const char *text, pmd_error *reterr);

static int send_text(const Options *o, const char *operand, const char *text, send_t send_it) {
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        uint32_t id;
        int r;

        r = read_id(o, operand, &id);
        if (r != EXIT_CODE_OK)
                return r;
        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = send_it(c, id, text, &e);
        return r < 0 ? report_error(o, r, &e) : EXIT_CODE_OK;
}

int verb_send(int argc, char *argv[], const Options *o) {
        return send_text(o, argv[1], argv[2], pmd_send_line);
}

static char *make_json_string(const char *text) {
        json_object *o = json_object_new_string(text);
        char *json;

        json = o ? strdup(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) : NULL;
        json_object_put(o);
        return json;
}

static bool is_json(const char *text) {
        json_tokener *t = json_tokener_new();
        bool valid;

        if (!t)
                return false;
        json_tokener_set_flags(t, JSON_TOKENER_STRICT);
        json_object_put(json_tokener_parse_ex(t, text, (int) strlen(text) + 1));
        valid = json_tokener_get_error(t) == json_tokener_success;
        json_tokener_free(t);
        return valid;
}

/* What is no JSON is a string: "pmctl sendMessage 0 ready" need not be quoted twice. */
static char *make_json(const char *text) {
        return is_json(text) ? strdup(text) : make_json_string(text);
}

int verb_send_message(int argc, char *argv[], const Options *o) {
        _cleanup_free_ char *json = make_json(argv[2]);

        return json ? send_text(o, argv[1], json, pmd_send_message) : EXIT_CODE_FAILED;
}

static void print_answer(const pmd_answer *a) {
        json_object *packet = json_tokener_parse(a->packet), *process = NULL, *data = NULL, *value = NULL, *name = NULL, *name_space = NULL;
        _cleanup_free_ char *escaped = NULL;

        (void) json_object_object_get_ex(packet, "process", &process);
        (void) json_object_object_get_ex(process, "name", &name);
        (void) json_object_object_get_ex(process, "namespace", &name_space);
        (void) json_object_object_get_ex(packet, "data", &data);
        (void) json_object_object_get_ex(data, "return", &value);

        escaped = string_escape_cc(strempty(json_object_get_string(name)));
        printf("[%s:%u:%s]=%s\n", strempty(escaped), a->process_id, strempty(json_object_get_string(name_space)),
               value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : "null");
        json_object_put(packet);
}

static void write_answer(JsonWriter *w, const pmd_answer *a) {
        json_writer_begin(w, NULL, '{');
        json_writer_uint(w, "id", a->process_id);
        json_writer_string(w, "answer", a->packet);
        json_writer_string(w, "error", a->error_name);
        json_writer_string(w, "message", a->error_message);
        json_writer_end(w, '}');
}

static int print_answers_json(const Options *o, const pmd_answer *answers, size_t n) {
        _cleanup_json_writer_ JsonWriter w = {};

        json_writer_begin(&w, NULL, '[');
        for (size_t i = 0; i < n; i++)
                write_answer(&w, answers + i);
        json_writer_end(&w, ']');
        return print_json(o, &w);
}

/* As pm2 says it; the exit code is that of the first that failed. */
static int report_answers(const Options *o, const char *action, const pmd_answer *answers, size_t n) {
        _cleanup_free_ char *escaped = string_escape_cc(action);
        int code = EXIT_CODE_OK;
        size_t n_received = 0;

        for (size_t i = 0; i < n; i++) {
                pmd_error e = { answers[i].error_name, answers[i].error_message };

                if (answers[i].packet) {
                        print_answer(answers + i);
                        n_received++;
                } else {
                        int r = report_error(o, -EIO, &e);

                        code = code == EXIT_CODE_OK ? r : code;
                }
        }

        if (n_received > 0)
                message_info(o, "%zu processes have received command %s", n_received, strempty(escaped));
        else
                message_error(o, "Not any process has received a command (offline or unexistent)");
        return code;
}

int verb_trigger(int argc, char *argv[], const Options *o) {
        /* A string always, as under pm2. */
        _cleanup_free_ char *parameters = argc > 3 ? make_json_string(argv[3]) : NULL;
        _cleanup_connection_ pmd_connection *c = NULL;
        _cleanup_(pmd_error_free) pmd_error e = {};
        pmd_answer *answers = NULL;
        size_t n = 0;
        int r;

        if (argc > 3 && !parameters)
                return EXIT_CODE_FAILED;
        r = acquire_connection(o, 0, &c);
        if (r != EXIT_CODE_OK)
                return r;
        r = pmd_trigger(c, TARGET(argv[1]), argv[2], parameters, 0, &answers, &n, &e);
        if (r < 0)
                return report_error(o, r, &e);

        r = o->json ? print_answers_json(o, answers, n) : report_answers(o, argv[2], answers, n);
        pmd_answer_free_many(answers, n);
        return r;
}
