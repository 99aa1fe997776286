/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <endian.h>
#include <json-c/json.h>
#include <strings.h>
#include <syslog.h>

#include "shared/json-util.h"
#include "shared/log-json.h"
#include "shared/parse-util.h"
#include "shared/string-util.h"

#define DEPTH_MAX 32
#define NAME_MAX_LENGTH 64u

/* ---- levels ---- */

int log_json_level(const char *level) {
        static const struct {
                const char *name;
                int priority;
        } names[] = {
                { "emerg", LOG_EMERG }, { "emergency", LOG_EMERG }, { "alert", LOG_ALERT }, { "crit", LOG_CRIT },
                { "critical", LOG_CRIT }, { "fatal", LOG_CRIT }, { "panic", LOG_CRIT }, { "error", LOG_ERR }, { "err", LOG_ERR },
                { "warning", LOG_WARNING }, { "warn", LOG_WARNING }, { "notice", LOG_NOTICE }, { "info", LOG_INFO },
                { "http", LOG_INFO }, { "verbose", LOG_DEBUG }, { "debug", LOG_DEBUG }, { "trace", LOG_DEBUG }, { "silly", LOG_DEBUG },
        };
        unsigned n;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (strcasecmp(names[i].name, level) == 0)
                        return names[i].priority;

        if (safe_atou(level, &n) < 0)
                return -EINVAL;
        /* pino and bunyan: 10 trace, 20 debug, 30 info, 40 warn, 50 error, 60 fatal. Below 8 it is a priority of syslog's. */
        if (n < 8)
                return (int) n;
        return n >= 60 ? LOG_CRIT : n >= 50 ? LOG_ERR : n >= 40 ? LOG_WARNING : n >= 30 ? LOG_INFO : LOG_DEBUG;
}

/* ---- fields ---- */

/* What would tell readers of the journal something that is not so. */
static bool name_is_reserved(const char *name) {
        static const char *const prefixes[] = { "PM_", "OBJECT_", "COREDUMP", "SYSLOG_", "CODE_", "MESSAGE", "JOURNAL_" };
        static const char *const names[] = { "PRIORITY", "UNIT", "USER_UNIT", "SESSION_ID", "ERRNO", "INVOCATION_ID", "USER_INVOCATION_ID" };

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (startswith(name, prefixes[i]))
                        return true;
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(name, names[i]))
                        return true;
        return false;
}

/* False: it cannot be the name of a field. */
static bool make_name(const char *key, char buf[static NAME_MAX_LENGTH + 1]) {
        size_t n = strlen(key);

        if (n == 0 || n > NAME_MAX_LENGTH || !isalpha((unsigned char) key[0]))
                return false;
        for (size_t i = 0; i <= n; i++)
                buf[i] = key[i] && !isalnum((unsigned char) key[i]) ? '_' : (char) toupper((unsigned char) key[i]);
        return !name_is_reserved(buf);
}

int log_json_add_field(LogJson *j, const char *name, const char *value, size_t n) {
        size_t n_name = strlen(name);
        uint64_t size = htole64(n);
        char *p;

        if (!GREEDY_REALLOC(j->fields, j->n_allocated, j->n_fields + n_name + sizeof size + n + 2))
                return -ENOMEM;

        p = mempcpy(j->fields + j->n_fields, name, n_name);
        if (memchr(value, '\n', n)) {
                *p++ = '\n';
                p = mempcpy(p, &size, sizeof size);
        } else
                *p++ = '=';
        p = mempcpy(p, value, n);
        *p++ = '\n';
        j->n_fields = (size_t) (p - j->fields);
        return 0;
}

static const char *text_of(json_object *value, size_t *ret_n) {
        const char *s;

        if (json_object_is_type(value, json_type_string)) {
                *ret_n = (size_t) MAX(json_object_get_string_len(value), 0);
                return json_object_get_string(value);
        }
        s = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        *ret_n = s ? strlen(s) : 0;
        return s;
}

static int take_message(LogJson *j, const char *text, size_t n) {
        /* Newlines would need another form of the field, and make two lines of one for who reads it. */
        j->message = new(char, n + 1);
        if (!j->message)
                return -ENOMEM;
        memcpy(j->message, text, n);
        j->message[n] = 0;
        j->n_message = n;
        for (size_t i = 0; i < n; i++)
                if (j->message[i] == '\n')
                        j->message[i] = ' ';
        return 0;
}

static int take_member(LogJson *j, const char *key, json_object *value, unsigned *n_taken) {
        char name[NAME_MAX_LENGTH + 1];
        const char *text;
        size_t n;

        text = text_of(value, &n);
        if (!text)
                return value ? -ENOMEM : 0;

        if (streq(key, "level") || streq(key, "severity")) {
                int priority = log_json_level(text);

                if (priority >= 0) {
                        j->priority = priority;
                        return 0;
                }
        }
        if ((streq(key, "msg") || streq(key, "message")) && !j->message && json_object_is_type(value, json_type_string))
                return take_message(j, text, n);

        if (!make_name(key, name) || *n_taken >= LOG_JSON_FIELDS_MAX)
                return 0;
        (*n_taken)++;
        return log_json_add_field(j, name, text, n);
}

void log_json_done(LogJson *j) {
        free(j->message);
        free(j->fields);
        *j = (LogJson) {};
}

int log_json_parse(const char *line, size_t n, LogJson *ret) {
        _cleanup_(json_tokener_freep) json_tokener *tokener = NULL;
        _cleanup_(json_object_putp) json_object *object = NULL;
        _cleanup_(log_json_done) LogJson j = { .priority = -1 };
        unsigned n_taken = 0;
        int r;

        if (n < 2 || line[0] != '{' || n > INT32_MAX)
                return 0;

        tokener = json_tokener_new_ex(DEPTH_MAX);
        if (!tokener)
                return -ENOMEM;
        object = json_tokener_parse_ex(tokener, line, (int) n);
        if (!json_object_is_type(object, json_type_object))
                return 0;
        for (size_t i = json_tokener_get_parse_end(tokener); i < n; i++)
                if (!isspace((unsigned char) line[i]))
                        return 0;

        json_object_object_foreach(object, key, value) {
                r = take_member(&j, key, value, &n_taken);
                if (r < 0)
                        return r;
        }

        *ret = j;
        j = (LogJson) {};
        return 1;
}
