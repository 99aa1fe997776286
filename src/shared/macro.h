/* SPDX-License-Identifier: MIT */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _unused_ __attribute__((unused))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _sentinel_ __attribute__((sentinel))
#define _noreturn_ __attribute__((noreturn))
#define _public_ __attribute__((visibility("default")))

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))
#define STRLEN(x) (sizeof("" x "") - 1)

#define MIN(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define MAX(a, b) ({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })

#define CONTAINER_OF(ptr, type, member) ((type *) ((char *) (ptr) - offsetof(type, member)))

/* For the first line of a callback: a NULL userdata is a bug of ours, not of the world. */
#define ASSERT_PTR(p) ({ typeof(p) _p = (p); assert(_p); _p; })

#define TAKE_GENERIC(var, null) ({ typeof(var) *_pvar = &(var); typeof(var) _v = *_pvar; *_pvar = (null); _v; })
#define TAKE_PTR(p) TAKE_GENERIC(p, NULL)
#define TAKE_FD(fd) TAKE_GENERIC(fd, -EBADF)

#define IN_SET(x, ...)                                                                  \
        ({                                                                              \
                const typeof(x) _set[] = { __VA_ARGS__ };                               \
                const typeof(x) _x = (x);                                               \
                bool _found = false;                                                    \
                for (size_t _i = 0; _i < ELEMENTSOF(_set) && !_found; _i++)             \
                        _found = _set[_i] == _x;                                        \
                _found;                                                                 \
        })

/* Defines <func>p() for _cleanup_(): releases what the variable holds when it goes out of scope. */
#define DEFINE_CLEANUP_FUNC(type, func)                                                 \
        static inline void func##p(type *p) {                                           \
                if (*p)                                                                 \
                        (void) func(*p);                                                \
        }

/* Reference counting of an immutable or shared object whose first field is "unsigned n_ref". */
#define DEFINE_REF_UNREF_FUNC(type, name, destroy)                                      \
        type *name##_ref(type *p) {                                                     \
                if (!p)                                                                 \
                        return NULL;                                                    \
                assert(p->n_ref > 0);                                                   \
                p->n_ref++;                                                             \
                return p;                                                               \
        }                                                                               \
        type *name##_unref(type *p) {                                                   \
                if (!p)                                                                 \
                        return NULL;                                                    \
                assert(p->n_ref > 0);                                                   \
                if (--p->n_ref == 0)                                                    \
                        destroy(p);                                                     \
                return NULL;                                                            \
        }

#define new(t, n) ((t *) reallocarray(NULL, (n) > 0 ? (n) : 1, sizeof(t)))
#define new0(t, n) ((t *) calloc((n) > 0 ? (n) : 1, sizeof(t)))
#define mfree(p) ({ free(p); (typeof(p)) NULL; })

static inline void freep(void *p) {
        free(*(void **) p);
}

#define _cleanup_free_ _cleanup_(freep)

/* Makes room for n items in an array that grows by doubling; false if memory ran out. */
#define GREEDY_REALLOC(array, allocated, n)                                             \
        ({                                                                              \
                size_t _need = (n);                                                     \
                bool _ok = true;                                                        \
                if (_need > (allocated)) {                                              \
                        size_t _want = MAX(_need, (size_t) (allocated) * 2);            \
                        void *_q = reallocarray((array), _want, sizeof((array)[0]));    \
                        if (_q) {                                                       \
                                (array) = _q;                                           \
                                (allocated) = _want;                                    \
                        } else                                                          \
                                _ok = false;                                            \
                }                                                                       \
                _ok;                                                                    \
        })

/* Keeps the first error of a loop that goes on after one. */
#define RET_GATHER(ret, err)                                                            \
        ({                                                                              \
                int *_r = &(ret), _e = (err);                                           \
                if (*_r >= 0 && _e < 0)                                                 \
                        *_r = _e;                                                       \
                *_r;                                                                    \
        })
