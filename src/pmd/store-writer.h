/* SPDX-License-Identifier: MIT */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "pmd/pmd-forward.h"
#include "shared/macro.h"

/* Saves lists on a thread: the disk may take its time, and the loop has none. One after the other. */

/* From the event loop; error is what store_save() returned. */
typedef void (*store_written_t)(int error, void *userdata);

int store_writer_new(sd_event *event, StoreWriter **ret);
StoreWriter *store_writer_free(StoreWriter *w); /* waits for what is being written; done() is called with -ECANCELED for the rest */
DEFINE_CLEANUP_FUNC(StoreWriter *, store_writer_free);

/* done() follows, once. -EBUSY: too many wait. On errors it does not. */
int store_writer_save(StoreWriter *w, const char *path, json_object *apps, store_written_t done, void *userdata);
