#include "dataplane/tls/io.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>

#include "common/alloc.h"
#include "dataplane/core/worker.h"

static int bio_read(BIO *bio, char *room, size_t n, size_t *ret) {
    struct tls_io *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (io->in_n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    size_t take = n < io->in_n ? n : io->in_n;
    memcpy(room, io->in, take);
    io->in += take;
    io->in_n -= take;
    *ret = take;
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t n, size_t *ret) {
    struct tls_io *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (n > TLS_OUT_SIZE - io->out_n) {
        BIO_set_retry_write(bio); /* the caller left too little room: the session fails */
        return 0;
    }
    memcpy(io->out + io->out_n, bytes, n);
    io->out_n += n;
    *ret = n;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

int tls_bio_init(struct tls_worker *w) {
    w->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tls_io");
    if (!w->method || !BIO_meth_set_read_ex(w->method, bio_read) || !BIO_meth_set_write_ex(w->method, bio_write) ||
        !BIO_meth_set_ctrl(w->method, bio_control))
        return -1;
    w->bio = BIO_new(w->method);
    if (!w->bio)
        return -1;
    BIO_set_data(w->bio, &w->io);
    BIO_set_init(w->bio, 1);
    return 0;
}

void tls_bio_finish(struct tls_worker *w) {
    BIO_free(w->bio);
    BIO_meth_free(w->method);
}

/* ---- the worker's ---- */

static int worker_part_init(struct tls_worker *t, struct worker *w) {
    t->worker = w;
    t->io.in_buffer = hg_malloc(READ_MAX);
    t->io.out = hg_malloc(TLS_OUT_SIZE);
    if (!t->io.in_buffer || !t->io.out)
        return -1;
    return tls_library_init(&t->library, w->index) < 0 || tls_bio_init(t) < 0 ? -1 : 0;
}

static void worker_part_free(struct tls_worker *t) {
    session_cache_finish(&t->sessions);
    tls_bio_finish(t);
    tls_library_retire(&t->library);
    hg_free(t->io.in_buffer);
    hg_free(t->io.out);
    hg_free(t);
}

struct tls_worker *tls_worker_of(struct worker *w) {
    if (w->tls)
        return (struct tls_worker *)w->tls;
    struct tls_worker *t = hg_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    if (worker_part_init(t, w) < 0) {
        worker_part_free(t);
        ERR_clear_error();
        return NULL;
    }
    w->tls = &t->io;
    return t;
}

struct tls_io *tls_io_of(struct worker *w) {
    struct tls_worker *t = tls_worker_of(w);
    return t ? &t->io : NULL;
}

void tls_io_free(struct worker *w) {
    if (!w->tls)
        return;
    worker_part_free((struct tls_worker *)w->tls);
    w->tls = NULL;
}
