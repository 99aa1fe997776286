/* SPDX-License-Identifier: MIT */
#include "shared/watch-options.h"

#include "shared/app-option.h"
#include "shared/json-util.h"
#include "shared/string-util.h"
#include "shared/strv.h"

#define LEVELS_MAX 1000U

/* As chokidar has it. */
#define STABILITY_THRESHOLD (2 * USEC_PER_SEC)
#define STABILITY_THRESHOLD_MAX (24 * 3600 * USEC_PER_SEC)

static int set_follow_symlinks(WatchOptions *o, json_object *value, const char **ret_fault) {
        int r = json_to_boolean(value);

        if (r < 0) {
                *ret_fault = "is neither true nor false";
                return r;
        }
        o->no_links = !r;
        return 0;
}

static int set_depth(WatchOptions *o, json_object *value, const char **ret_fault) {
        int64_t v;

        if (json_to_integer(value, &v) < 0 || v < 0 || v >= LEVELS_MAX) {
                *ret_fault = "is no number from 0 to 999";
                return -EINVAL;
        }
        o->levels = (unsigned) v + 1;
        return 0;
}

static int set_cwd(WatchOptions *o, json_object *value, const char **ret_fault) {
        if (!json_object_is_type(value, json_type_string)) {
                *ret_fault = "is no text";
                return -EINVAL;
        }
        return free_and_strdup(&o->cwd, json_object_get_string(value));
}

static int set_ignored(WatchOptions *o, json_object *value, const char **ret_fault) {
        bool is_array = json_object_is_type(value, json_type_array);
        size_t n = is_array ? json_object_array_length(value) : 1;
        _cleanup_strv_free_ char **rules = NULL;
        int r;

        for (size_t i = 0; i < n; i++) {
                json_object *rule = is_array ? json_object_array_get_idx(value, i) : value;

                if (!json_object_is_type(rule, json_type_string)) {
                        *ret_fault = "is neither a pattern nor a list of patterns";
                        return -EINVAL;
                }
                r = strv_extend(&rules, json_object_get_string(rule));
                if (r < 0)
                        return r;
        }

        strv_free(o->ignored);
        o->ignored = TAKE_PTR(rules);
        return 0;
}

static int set_await_write_finish(WatchOptions *o, json_object *value, const char **ret_fault) {
        json_object *threshold = NULL;
        int64_t v;
        int r;

        if (json_object_is_type(value, json_type_object)) {
                o->stable_for = STABILITY_THRESHOLD;
                if (!json_object_object_get_ex(value, "stabilityThreshold", &threshold) || !threshold)
                        return 0;
                if (json_to_integer(threshold, &v) < 0 || v < 0 || (uint64_t) v > STABILITY_THRESHOLD_MAX / USEC_PER_MSEC) {
                        *ret_fault = "has a stabilityThreshold that is no number of milliseconds up to a day";
                        return -EINVAL;
                }
                o->stable_for = (usec_t) v * USEC_PER_MSEC;
                return 0;
        }

        r = json_to_boolean(value);
        if (r < 0) {
                *ret_fault = "is neither true nor false nor an object";
                return r;
        }
        o->stable_for = r ? STABILITY_THRESHOLD : 0;
        return 0;
}

static const struct {
        const char *key;
        int (*set)(WatchOptions *o, json_object *value, const char **ret_fault);
        const char *note; /* why it has no effect; NULL: what it asks for is so anyway */
} options[] = {
        { "followSymlinks", set_follow_symlinks },
        { "depth", set_depth },
        { "cwd", set_cwd },
        { "ignored", set_ignored },
        { "awaitWriteFinish", set_await_write_finish },
        { "persistent" },
        { "ignoreInitial" },
        { "ignorePermissionErrors" },
        { "atomic" },
        { "usePolling", NULL, "files are watched by inotify, which does not see what other machines change on a network file system" },
        { "interval", NULL, "nothing is polled" },
        { "binaryInterval", NULL, "nothing is polled" },
        { "alwaysStat", NULL, "it has no meaning here" },
        { "disableGlobbing", NULL, "it has no meaning here" },
        { "useFsEvents", NULL, "it has no meaning here" },
};

static size_t find_option(const char *key) {
        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (streq(options[i].key, key))
                        return i;
        return SIZE_MAX;
}

int watch_options_read(json_object *object, WatchOptions *ret, char **reterr) {
        _cleanup_watch_options_ WatchOptions o = {};

        json_object_object_foreach(object, key, value) {
                size_t i = find_option(key);
                const char *fault = "";
                int r;

                if (!value || i == SIZE_MAX || !options[i].set)
                        continue;
                r = options[i].set(&o, value, &fault);
                if (r == -ENOMEM)
                        return r;
                if (r < 0)
                        return config_fault(reterr, -EINVAL, "watch_options: %s %s", key, fault);
        }

        *ret = TAKE_GENERIC(o, (WatchOptions) {});
        return 0;
}

void watch_options_done(WatchOptions *o) {
        o->ignored = strv_free(o->ignored);
        o->cwd = mfree(o->cwd);
}

int watch_options_parse(const char *text, WatchOptions *ret) {
        _cleanup_(json_object_putp) json_object *object = NULL;

        if (!text) {
                *ret = (WatchOptions) {};
                return 0;
        }
        object = json_tokener_parse(text);
        if (!json_object_is_type(object, json_type_object))
                return -EINVAL;
        return watch_options_read(object, ret, NULL);
}

int watch_options_notes(json_object *object, char **ret) {
        _cleanup_free_ char *notes = NULL;

        *ret = NULL;
        if (!json_object_is_type(object, json_type_object))
                return 0;

        json_object_object_foreach(object, key, value) {
                size_t i = find_option(key);
                _cleanup_free_ char *line = NULL;
                char *joined;

                (void) value;
                if (i != SIZE_MAX && !options[i].note)
                        continue;
                (void) config_fault(&line, 0, "watch_options: %.64s: %s, ignored", key,
                                    i == SIZE_MAX ? "unknown attribute" : options[i].note);
                joined = line ? strjoin(strempty(notes), notes ? "\n" : "", line) : NULL;
                if (!joined)
                        return -ENOMEM;
                free(notes);
                notes = joined;
        }

        *ret = TAKE_PTR(notes);
        return 0;
}
