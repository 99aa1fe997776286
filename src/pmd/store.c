/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "pmd/store.h"
#include "shared/fault.h"
#include "shared/fd-util.h"
#include "shared/fileio.h"
#include "shared/json-util.h"
#include "shared/path-util.h"
#include "shared/string-util.h"

#define PREFIX "{\"checksum\":\"crc32:"
#define DIGITS 8U
#define BODY_OFFSET (STRLEN(PREFIX) + DIGITS)

/* The CRC of ISO 3309, which gzip and Ethernet use, half a byte at a time. */
static uint32_t crc32_of(const char *data, size_t n) {
        static const uint32_t table[16] = {
                0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
        };
        uint32_t crc = UINT32_MAX;

        for (size_t i = 0; i < n; i++) {
                crc ^= (unsigned char) data[i];
                crc = crc >> 4 ^ table[crc & 0xf];
                crc = crc >> 4 ^ table[crc & 0xf];
        }
        return ~crc;
}

static char *generation_path(const char *path, unsigned generation) {
        return generation == 0 ? strdup(path) : strprintf("%s.%u", path, generation);
}

/* ---- the text of a file ---- */

int store_format(json_object *apps, char **ret, size_t *ret_size) {
        _cleanup_(json_object_putp) json_object *list = json_object_new_object();
        json_object *version = json_object_new_int(STORE_VERSION);
        const char *body;
        char *text;
        size_t n;

        if (!list || !version || json_object_object_add(list, "version", version) < 0) {
                json_object_put(version);
                return -ENOMEM;
        }
        if (json_object_object_add(list, "apps", json_object_get(apps)) < 0) {
                json_object_put(apps);
                return -ENOMEM;
        }

        body = json_object_to_json_string_ext(list, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
        if (!body)
                return -ENOMEM;

        /* The brace that opens the object has its place before the checksum. */
        text = strprintf("%s%08" PRIx32 "\",%s\n", PREFIX, UINT32_C(0), body + 1);
        if (!text)
                return -ENOMEM;
        n = strlen(text);

        char digits[DIGITS + 1];
        (void) snprintf(digits, sizeof digits, "%08" PRIx32, crc32_of(text + BODY_OFFSET, n - BODY_OFFSET));
        memcpy(text + STRLEN(PREFIX), digits, DIGITS);

        *ret = text;
        *ret_size = n;
        return 0;
}

/* What is wrong with the text (static), or NULL with *ret the list. */
static const char *parse_list(const char *text, size_t size, json_object **ret) {
        _cleanup_(json_object_putp) json_object *list = NULL;
        json_object *version, *apps;
        char digits[DIGITS + 1];

        if (size == 0)
                return "is empty";
        if (size <= BODY_OFFSET || !startswith(text, PREFIX))
                return "is no saved list, or is damaged";
        (void) snprintf(digits, sizeof digits, "%08" PRIx32, crc32_of(text + BODY_OFFSET, size - BODY_OFFSET));
        if (memcmp(text + STRLEN(PREFIX), digits, DIGITS) != 0)
                return "is damaged, its checksum is wrong";

        list = json_tokener_parse(text);
        if (!json_object_is_type(list, json_type_object) || !json_object_object_get_ex(list, "version", &version))
                return "is damaged";
        if (json_object_get_int64(version) != STORE_VERSION)
                return "was written by another version of pmd";
        if (!json_object_object_get_ex(list, "apps", &apps) || !json_object_is_type(apps, json_type_array))
                return "is damaged";

        *ret = json_object_get(apps);
        return NULL;
}

/* ---- saving ---- */

static bool newest_is_good(const char *path, char **ret_text, size_t *ret_size) {
        _cleanup_(json_object_putp) json_object *apps = NULL;

        return read_full_file(path, ret_text, ret_size) >= 0 && !parse_list(*ret_text, *ret_size, &apps);
}

/* Every generation but the newest gives its name to the one before it. What may need space on the disk comes first, so that
 * a full one is met while all are still in their places. */
static int push_generations(const char *path) {
        _cleanup_free_ char *linked = strjoin(path, ".link");
        int r = 0;

        if (!linked)
                return -ENOMEM;

        (void) unlink(linked);
        FAULT_BEFORE(GENERATION);
        if (link(path, linked) < 0) {
                /* Some file systems know no links. */
                if (!IN_SET(errno, EPERM, EOPNOTSUPP, ENOSYS))
                        return -errno;
                if (rename(path, linked) < 0)
                        return -errno;
        }

        for (unsigned g = STORE_GENERATIONS - 1; r >= 0 && g > 0; g--) {
                _cleanup_free_ char *from = g == 1 ? strdup(linked) : generation_path(path, g - 1);
                _cleanup_free_ char *to = generation_path(path, g);

                if (!from || !to)
                        r = -ENOMEM;
                else if (rename(from, to) < 0 && errno != ENOENT)
                        r = -errno;
                FAULT_AFTER(GENERATION);
        }
        if (r < 0)
                (void) unlink(linked);
        return r;
}

int store_write(const char *path, const char *text, size_t size) {
        _cleanup_free_ char *before = NULL, *fresh = strjoin(path, ".new");
        size_t size_before;
        bool good;
        int r;

        if (!fresh)
                return -ENOMEM;
        good = newest_is_good(path, &before, &size_before);
        if (good && size == size_before && memcmp(text, before, size) == 0)
                return 0;

        r = write_file_atomic(fresh, text, size, 0600);
        if (r >= 0 && good)
                r = push_generations(path);
        FAULT_BEFORE(FILE_RENAME);
        if (r >= 0 && rename(fresh, path) < 0)
                r = -errno;
        FAULT_AFTER(FILE_RENAME);
        if (r < 0) {
                (void) unlink(fresh);
                return r;
        }
        return fsync_parent(path);
}

int store_save(const char *path, json_object *apps) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = store_format(apps, &text, &size);
        return r < 0 ? r : store_write(path, text, size);
}

static bool is_temporary(const char *name, const char *base) {
        const char *rest = startswith(name, base);

        rest = rest ? startswith(rest, ".new") : NULL;
        return rest && IN_SET(*rest, 0, '.');
}

void store_clean(const char *path) {
        _cleanup_free_ char *linked = strjoin(path, ".link"), *before = generation_path(path, 1);
        _cleanup_free_ char *directory = strndup(path, (size_t) (path_basename(path) - path));
        _cleanup_closedir_ DIR *d = directory ? opendir(directory) : NULL;

        if (linked && before && access(before, F_OK) < 0)
                (void) rename(linked, before);
        if (linked)
                (void) unlink(linked);
        for (struct dirent *de; d && (de = readdir(d));)
                if (is_temporary(de->d_name, path_basename(path)))
                        (void) unlinkat(dirfd(d), de->d_name, 0);
}

/* ---- loading ---- */

static int add_line(char **text, const char *path, const char *what) {
        char *joined = strjoin(strempty(*text), *text ? "\n" : "", path, " ", what);

        if (!joined)
                return -ENOMEM;
        free(*text);
        *text = joined;
        return 0;
}

/* 0, or a negative errno with *ret_fault (static) telling what is wrong. */
static int load_generation(const char *path, json_object **ret, const char **ret_fault) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = read_full_file(path, &text, &size);
        if (r < 0) {
                *ret_fault = r == -ENOENT ? "is missing" : strerror(-r);
                return r;
        }
        *ret_fault = parse_list(text, size, ret);
        return *ret_fault ? -EBADMSG : 0;
}

int store_load(const char *path, json_object **ret, char **ret_warnings) {
        _cleanup_(json_object_putp) json_object *apps = NULL;
        _cleanup_free_ char *warnings = NULL;
        int result = -ENOENT, r;

        for (unsigned g = 0; g < STORE_GENERATIONS; g++) {
                _cleanup_free_ char *generation = generation_path(path, g);
                const char *fault = NULL;

                if (!generation)
                        return -ENOMEM;
                r = load_generation(generation, &apps, &fault);
                if (r >= 0) {
                        if (g > 0 && add_line(&warnings, generation, "is used instead") < 0)
                                return -ENOMEM;
                        *ret = TAKE_PTR(apps);
                        *ret_warnings = TAKE_PTR(warnings);
                        return 0;
                }
                if (r == -ENOMEM)
                        return r;
                if (r != -ENOENT)
                        result = -EBADMSG;
                /* An older one need not be there. */
                if (r == -ENOENT && g > 0)
                        continue;
                if (add_line(&warnings, generation, fault) < 0)
                        return -ENOMEM;
        }

        if (result == -EBADMSG)
                *ret_warnings = TAKE_PTR(warnings);
        return result;
}
