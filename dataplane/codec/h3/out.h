/* out.h — bytes of one stream that were made and that the peer has not acknowledged yet.
 *
 * All slices are owned: the transport keeps pointers into them until they are acknowledged. Thread: the worker's. */
#pragma once

#include <sys/uio.h>

#include "dataplane/core/slice.h"

/* Zeroed: empty. */
struct h3_out {
    struct slice_queue queue;              /* first what waits to be acknowledged, then what is unsent */
    struct slice      *at;                 /* the next byte to be sent is in it, or right behind; NULL: as queue.first */
    size_t             at_offset;
    size_t             unsent;             /* bytes */
    size_t             acked;              /* of the first slice */
};

/* Copies into the block that small pieces share. 0, or -1 without memory (a part may have been added). */
int    h3_out_copy(struct h3_out *, struct slice_pool *, const void *bytes, size_t n);
/* Bytes that were written to slice_pool_room. */
int    h3_out_take(struct h3_out *, struct slice_pool *, size_t n);
/* Takes the slice; one that is borrowed, or small, is copied. 0, or -1 without memory, and the slice is freed. */
int    h3_out_push(struct h3_out *, struct slice_pool *, struct slice *);
/* What is unsent, from its beginning: at most `most` pieces. */
size_t h3_out_pieces(const struct h3_out *, struct iovec *vec, size_t most);
void   h3_out_sent(struct h3_out *, size_t n);                          /* the first n bytes of it are in packets */
void   h3_out_acked(struct h3_out *, struct slice_pool *, uint64_t n);  /* n more bytes from the beginning */
void   h3_out_clear(struct h3_out *, struct slice_pool *);
