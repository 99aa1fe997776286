/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd/store.h"
#include "test.h"
#include "tree.h"

/* These stand before libc's: the n-th call from now on fails. */
static struct {
        int fsync, rename, link, write; /* 0: none will */
        int error;
} failing;

static bool fails_now(int *countdown) {
        if (*countdown == 0 || --*countdown > 0)
                return false;
        errno = failing.error;
        return true;
}

int fsync(int fd) {
        return fails_now(&failing.fsync) ? -1 : (int) syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
        return fails_now(&failing.rename) ? -1 : (int) syscall(SYS_renameat2, -100, from, -100, to, 0);
}

int link(const char *from, const char *to) {
        return fails_now(&failing.link) ? -1 : (int) syscall(SYS_linkat, -100, from, -100, to, 0);
}

ssize_t write(int fd, const void *data, size_t n) {
        return fails_now(&failing.write) ? -1 : syscall(SYS_write, fd, data, n);
}

static json_object *list_of(const char *name) {
        json_object *apps = json_object_new_array();

        (void) json_object_array_add(apps, json_object_new_string(name));
        return apps;
}

static int save(const char *path, const char *name) {
        json_object *apps = list_of(name);
        int r = store_save(path, apps);

        json_object_put(apps);
        return r;
}

/* The name in the list that is loaded, new memory. */
static char *load(const char *path, char **ret_warnings) {
        json_object *apps;
        char *name;

        if (store_load(path, &apps, ret_warnings) < 0)
                return NULL;
        name = strdup(json_object_get_string(json_object_array_get_idx(apps, 0)));
        json_object_put(apps);
        return name;
}

/* The names in the three generations as they stand in the files, "-" for none. */
static char *generations(const char *dir) {
        static const char *const names[] = { "saved.json", "saved.json.1", "saved.json.2" };
        char *all = strdup("");

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = strjoin(dir, "/", names[i]), *before = all, *text = NULL;
                char *name = NULL;

                if (read_full_file(path, &text, NULL) >= 0) {
                        name = strstr(text, "\"apps\"");
                        name = name ? strpbrk(name + 6, "\"") : NULL;
                        if (name)
                                *strchr(++name, '"') = 0;
                }
                all = strjoin(before, i > 0 ? " " : "", name ?: "-");
        }
        return all;
}

#define ASSERT_GENERATIONS(dir, expected)                                               \
        do {                                                                            \
                _cleanup_free_ char *_g = generations(dir);                             \
                ASSERT_STREQ(_g, expected);                                             \
        } while (false)

#define WITH_DIR                                                                        \
        _cleanup_(tree_remove) char *dir = tree_new();                                  \
        _cleanup_free_ char *path = strjoin(dir, "/saved.json"), *path1 = strjoin(path, ".1"), *warnings = NULL, *name = NULL; \
        failing = (typeof(failing)) {};                                                 \
        (void) path1

static void damage(const char *path, const char *with) {
        FILE *f = fopen(path, "r+");

        (void) fseek(f, -20, SEEK_END);
        (void) fputs(with, f);
        (void) fclose(f);
}

TEST(nothing_saved) {
        WITH_DIR;
        json_object *apps;

        ASSERT_EQ(store_load(path, &apps, &warnings), -ENOENT);
        ASSERT_TRUE(!warnings);
}

TEST(what_is_saved_is_loaded) {
        WITH_DIR;
        struct stat st;

        ASSERT_OK(save(path, "one \"\\/\u00e4\n"));
        ASSERT_OK(stat(path, &st));
        ASSERT_EQ(st.st_mode & 07777, 0600);
        name = load(path, &warnings);
        ASSERT_STREQ(name, "one \"\\/\u00e4\n");
        ASSERT_TRUE(!warnings);
}

TEST(the_file_is_json) {
        WITH_DIR;
        _cleanup_free_ char *text = NULL;
        json_object *o, *version;

        ASSERT_OK(save(path, "one"));
        ASSERT_OK(read_full_file(path, &text, NULL));
        o = json_tokener_parse(text);
        ASSERT_TRUE(json_object_object_get_ex(o, "version", &version));
        ASSERT_EQ(json_object_get_int(version), 1);
        ASSERT_TRUE(json_object_object_get_ex(o, "checksum", NULL));
        json_object_put(o);
}

TEST(three_generations) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        ASSERT_GENERATIONS(dir, "a - -");
        ASSERT_OK(save(path, "b"));
        ASSERT_OK(save(path, "c"));
        ASSERT_GENERATIONS(dir, "c b a");
        ASSERT_OK(save(path, "d"));
        ASSERT_GENERATIONS(dir, "d c b");
}

TEST(the_same_list_is_no_new_generation) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(save(path, "b"));
        ASSERT_OK(save(path, "b"));
        ASSERT_GENERATIONS(dir, "b a -");
}

TEST(damaged_list) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(save(path, "b"));
        damage(path, "x");
        name = load(path, &warnings);
        ASSERT_STREQ(name, "a");
        ASSERT_TRUE(strstr(warnings, "saved.json is damaged"));
        ASSERT_TRUE(strstr(warnings, "saved.json.1 is used instead"));
}

TEST(every_flipped_bit_is_noticed) {
        WITH_DIR;
        _cleanup_free_ char *text = NULL;
        size_t size;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(read_full_file(path, &text, &size));
        for (size_t i = 0; i < size * 8; i++) {
                _cleanup_free_ char *w = NULL;
                json_object *apps;

                text[i / 8] = (char) (text[i / 8] ^ 1 << i % 8);
                ASSERT_OK(write_file_atomic(path, text, size, 0600));
                ASSERT_EQ(store_load(path, &apps, &w), -EBADMSG);
                text[i / 8] = (char) (text[i / 8] ^ 1 << i % 8);
        }
}

TEST(every_cut_is_noticed) {
        WITH_DIR;
        _cleanup_free_ char *text = NULL;
        size_t size;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(read_full_file(path, &text, &size));
        for (size_t n = 0; n < size; n++) {
                _cleanup_free_ char *w = NULL;
                json_object *apps;

                ASSERT_OK(write_file_atomic(path, text, n, 0600));
                ASSERT_EQ(store_load(path, &apps, &w), -EBADMSG);
                ASSERT_TRUE(n > 0 || strstr(w, "is empty"));
        }
}

TEST(a_missing_newest_list_falls_back) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(save(path, "b"));
        ASSERT_OK(unlink(path));
        name = load(path, &warnings);
        ASSERT_STREQ(name, "a");
        ASSERT_TRUE(strstr(warnings, "saved.json is missing"));
}

TEST(two_damaged_lists) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(save(path, "b"));
        ASSERT_OK(save(path, "c"));
        damage(path, "x");
        ASSERT_OK(truncate(path1, 0));
        name = load(path, &warnings);
        ASSERT_STREQ(name, "a");
        ASSERT_TRUE(strstr(warnings, "saved.json.1 is empty"));
}

TEST(a_damaged_list_pushes_no_good_one_out) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        ASSERT_OK(save(path, "b"));
        ASSERT_OK(save(path, "c"));
        damage(path, "x");
        ASSERT_OK(save(path, "d"));
        ASSERT_GENERATIONS(dir, "d b a");
}

/* Its checksum was made with crc32(3) of zlib. */
TEST(another_version) {
        static const char text[] = "{\"checksum\":\"crc32:98cfaf25\",\"version\":2,\"apps\":[]}\n";
        WITH_DIR;
        json_object *apps;

        ASSERT_OK(write_file_atomic(path, text, strlen(text), 0600));
        ASSERT_EQ(store_load(path, &apps, &warnings), -EBADMSG);
        ASSERT_TRUE(strstr(warnings, "was written by another version of pmd"));
}

/* Each step that can fail, failing. */
TEST(errors_change_nothing) {
        static const int errors[] = { ENOSPC, EDQUOT, EIO, EROFS };
        static int *const steps[] = { &failing.write, &failing.fsync, &failing.link, &failing.rename };

        for (size_t e = 0; e < ELEMENTSOF(errors); e++)
                for (size_t s = 0; s < ELEMENTSOF(steps); s++) {
                        WITH_DIR;
                        _cleanup_free_ char *fresh = strjoin(path, ".new"), *linked = strjoin(path, ".link");

                        ASSERT_OK(save(path, "a"));
                        ASSERT_OK(save(path, "b"));
                        ASSERT_OK(save(path, "c"));
                        failing.error = errors[e];
                        *steps[s] = 1;
                        ASSERT_EQ(save(path, "d"), -errors[e]);
                        ASSERT_EQ(*steps[s], 0);
                        ASSERT_GENERATIONS(dir, "c b a");
                        ASSERT_TRUE(access(fresh, F_OK) < 0 && access(linked, F_OK) < 0);
                        ASSERT_OK(save(path, "d"));
                        ASSERT_GENERATIONS(dir, "d c b");
                }
}

/* There are four renames, each of which leaves a newest list behind, whatever becomes of the others. */
TEST(the_newest_list_is_never_missing) {
        for (int step = 1; step <= 5; step++) {
                WITH_DIR;

                ASSERT_OK(save(path, "a"));
                ASSERT_OK(save(path, "b"));
                failing.error = EIO;
                failing.rename = step;
                (void) save(path, "c");
                name = load(path, &warnings);
                ASSERT_STREQ(name, step <= 4 ? "b" : "c");
                ASSERT_TRUE(!warnings);
        }
}

TEST(file_systems_without_links) {
        WITH_DIR;

        ASSERT_OK(save(path, "a"));
        failing.error = EPERM;
        failing.link = 1;
        ASSERT_OK(save(path, "b"));
        ASSERT_GENERATIONS(dir, "b a -");
}
