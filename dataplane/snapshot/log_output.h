/* log_output.h — where access records go, as the settings of a snapshot say: the file, opened by the holder,
 * and the rings.
 *
 * A file that cannot be opened is a reason to refuse a snapshot. /dev/stdout and /dev/stderr are our own.
 * Thread: main. */
#pragma once

#include "common/error.h"
#include "dataplane/core/log_writer.h"

struct holder_client;
struct log_output;
struct resource_set;

/* NULL: no memory, or no thread. `holder` outlives it. */
struct log_output *log_output_create(struct holder_client *holder, unsigned workers);
void log_output_destroy(struct log_output *o);   /* writes what waits; NULL is allowed */

/* Opens what `resources` want and the output does not have. `done` is called once, possibly before this
 * returns; errors found by then are in `errors`, which must live until then. Then either _release or _abort
 * follows. At most one is open. */
void log_output_prepare(struct log_output *o, const struct resource_set *resources, struct error_list *errors,
                        void (*done)(void *arg), void *arg);
/* The ring of a worker under the prepared settings, to be given to it with the switch; NULL: no access
 * log. */
struct log_ring *log_output_ring(const struct log_output *o, unsigned worker);
/* Every worker has switched: what is not used any more is written and closed. */
void log_output_release(struct log_output *o);
void log_output_abort(struct log_output *o);

/* Opens the file anew, as after its rotation. */
void log_output_reopen(struct log_output *o);
struct log_writer_counts log_output_counts(const struct log_output *o);
