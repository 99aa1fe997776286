/* SPDX-License-Identifier: MIT */
#pragma once

/* Intrusive doubly linked lists. An item embeds LIST_FIELDS(Type, name), its owner LIST_HEAD(Type, name). */

#define LIST_HEAD(t, name) t *name
#define LIST_FIELDS(t, name) t *name##_next, *name##_prev

#define LIST_PREPEND(name, head, item)                                                  \
        do {                                                                            \
                typeof(*(head)) **_head = &(head), *_item = (item);                     \
                if ((_item->name##_next = *_head))                                      \
                        _item->name##_next->name##_prev = _item;                        \
                _item->name##_prev = NULL;                                              \
                *_head = _item;                                                         \
        } while (false)

#define LIST_APPEND(name, head, item)                                                   \
        do {                                                                            \
                typeof(*(head)) **_head = &(head), *_item = (item), *_tail = *_head;    \
                while (_tail && _tail->name##_next)                                     \
                        _tail = _tail->name##_next;                                     \
                _item->name##_next = NULL;                                              \
                if ((_item->name##_prev = _tail))                                       \
                        _tail->name##_next = _item;                                     \
                else                                                                    \
                        *_head = _item;                                                 \
        } while (false)

#define LIST_REMOVE(name, head, item)                                                   \
        do {                                                                            \
                typeof(*(head)) **_head = &(head), *_item = (item);                     \
                if (_item->name##_next)                                                 \
                        _item->name##_next->name##_prev = _item->name##_prev;           \
                if (_item->name##_prev)                                                 \
                        _item->name##_prev->name##_next = _item->name##_next;           \
                else if (*_head == _item)                                               \
                        *_head = _item->name##_next;                                    \
                _item->name##_next = _item->name##_prev = NULL;                         \
        } while (false)

#define LIST_FOREACH(name, i, head) for (typeof(*(head)) *i = (head); i; i = i->name##_next)

/* Safe against removal of the current item. */
#define LIST_FOREACH_SAFE(name, i, head)                                                \
        for (typeof(*(head)) *i = (head), *i##_n = i ? i->name##_next : NULL; i;        \
             i = i##_n, i##_n = i ? i->name##_next : NULL)
