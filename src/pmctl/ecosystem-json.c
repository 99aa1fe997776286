/* SPDX-License-Identifier: MIT */
#include <ctype.h>

#include "pmctl/ecosystem-internal.h"
#include "shared/string-util.h"

int ecosystem_parse_strict(const char *text, size_t size, int flags, json_object **ret, size_t *ret_offset, char **reterr) {
        /* json-c counts the innermost values as a level. */
        _cleanup_(json_tokener_freep) json_tokener *tokener = json_tokener_new_ex((int) ECOSYSTEM_DEPTH_MAX + 1);
        _cleanup_json_ json_object *o = NULL;
        enum json_tokener_error error;

        assert(size <= INT32_MAX);
        if (!tokener)
                return -ENOMEM;

        json_tokener_set_flags(tokener, flags | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(tokener, text, (int) size + 1);
        error = json_tokener_get_error(tokener);
        *ret_offset = json_tokener_get_parse_end(tokener);

        if (error == json_tokener_error_depth)
                return ecosystem_fault(reterr, -E2BIG, "it is nested more than %u levels deep", ECOSYSTEM_DEPTH_MAX);
        if (error == json_tokener_error_parse_utf8_string)
                return ecosystem_fault(reterr, -EILSEQ, "it is not valid UTF-8");
        if (IN_SET(error, json_tokener_continue, json_tokener_error_parse_eof))
                return ecosystem_fault(reterr, -EINVAL, "it ends too early");
        if (error != json_tokener_success)
                return ecosystem_fault(reterr, -EINVAL, "%s", json_tokener_error_desc(error));

        *ret = TAKE_PTR(o);
        return 0;
}

static const char *skip_byte_order_mark(const char *text, size_t *size) {
        const char *rest = startswith(text, "\xEF\xBB\xBF");

        if (!rest)
                return text;
        *size -= (size_t) (rest - text);
        return rest;
}

static bool is_blank(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!isspace((unsigned char) s[i]))
                        return false;
        return true;
}

static int fault_at(const char *text, size_t offset, int error, const char *what, char **reterr) {
        size_t line = 1, column = 1;

        for (size_t i = 0; i < offset; i++) {
                column = text[i] == '\n' ? 1 : column + 1;
                line += text[i] == '\n';
        }
        return ecosystem_fault(reterr, error, "line %zu, column %zu: %s", line, column, what);
}

int ecosystem_parse_json(const char *text, size_t size, const char *file, json_object **ret, char **reterr) {
        _cleanup_json_ json_object *o = NULL;
        _cleanup_free_ char *what = NULL, *said = NULL;
        size_t offset;
        int r;

        text = skip_byte_order_mark(text, &size);
        if (is_blank(text, size))
                return ecosystem_fault(reterr, -EINVAL, "it is empty");

        r = ecosystem_parse_strict(text, size, 0, &o, &offset, &what);
        offset = MIN(offset, size);
        if (r >= 0 && is_blank(text + offset, size - offset)) {
                *ret = TAKE_PTR(o);
                return 0;
        }
        if (r == -ENOMEM)
                return r;
        if (IN_SET(r, -E2BIG, -EILSEQ))
                return fault_at(text, offset, r == -EILSEQ ? -EINVAL : r, what, reterr);

        /* pm2 evaluates these files, so people write JavaScript in them. */
        r = ecosystem_evaluate(file, text, size, ECOSYSTEM_NODE_TIMEOUT, ret, &said);
        if (r == -ENOPKG)
                return fault_at(text, offset, -EINVAL, what ?: "there is more behind the value", reterr);
        if (r < 0 && said)
                return ecosystem_fault(reterr, r, "%s", said);
        return r;
}
