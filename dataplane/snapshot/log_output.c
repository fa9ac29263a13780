#include "dataplane/snapshot/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/log.h"
#include "dataplane/holder/protocol.h"
#include "dataplane/snapshot/holder_client.h"
#include "dataplane/snapshot/resource_set.h"

/* What a snapshot wants. */
struct wish {
    bool   is_on;
    char   path[HOLDER_PATH_MAX];
    size_t capacity;                 /* of a ring */
};

struct log_output {
    struct holder_client *holder;
    struct log_writer    *writer;
    unsigned              workers;
    struct wish           now;
    struct log_rings     *rings;     /* the writer's; NULL: off */
    /* the open preparation */
    bool                  is_preparing;
    struct wish           next;
    struct log_rings     *next_rings;/* `rings` where they stay */
    int                   next_fd;   /* -1: the file stays, or there is none */
    struct error_list    *errors;
    void                (*done)(void *arg);
    void                 *arg;
    char                  reopening; /* its address is the owner of the question */
};

struct log_output *log_output_create(struct holder_client *holder, unsigned workers) {
    struct log_output *o = hg_calloc(1, sizeof *o);
    if (!o)
        return NULL;
    *o = (struct log_output){
        .holder = holder, .workers = workers, .next_fd = -1, .writer = log_writer_create()};
    if (o->writer)
        return o;
    hg_free(o);
    return NULL;
}

void log_output_destroy(struct log_output *o) {
    if (!o)
        return;
    log_output_abort(o);
    holder_cancel(o->holder, &o->reopening);
    log_writer_destroy(o->writer);
    hg_free(o);
}

/* ---- preparing ---- */

static struct wish read_wish(const struct resource_set *resources) {
    static const Headgate__AccessLog defaults = HEADGATE__ACCESS_LOG__INIT;
    const struct resource *r = resource_set_find(resources, HEADGATE__KIND__KIND_SETTINGS, "default");
    const Headgate__Settings *settings = r ? (const Headgate__Settings *)r->message : NULL;
    const Headgate__AccessLog *log = settings && settings->access_log ? settings->access_log : &defaults;
    struct wish w = {.is_on = log->format != HEADGATE__ACCESS_LOG__FORMAT__OFF, .capacity = log->buffer};
    if (w.is_on)
        memccpy(w.path, log->path, '\0', sizeof w.path);
    return w;
}

static void complain(struct log_output *o, enum error_code code, const char *what) {
    struct error *e = error_addf(o->errors, code, "cannot open the access log %.200s: %s", o->next.path,
                                 what);
    error_set_resource(o->errors, e, "settings/default", "access_log.path");
}

static void finish_preparing(struct log_output *o) {
    void (*done)(void *) = o->done;
    o->done = NULL;
    o->errors = NULL;
    done(o->arg);
}

static void on_file(void *owner, struct holder_answer *answer) {
    struct log_output *o = owner;
    if (answer->error || answer->count != 1)
        complain(o, ERROR_IO, strerror(answer->error ? answer->error : EIO));
    else {
        o->next_fd = answer->fds[0];
        answer->count = 0;
    }
    finish_preparing(o);
}

/* Our own output, or -1 with errno 0 for a path that the holder opens. */
static int open_own(const char *path) {
    errno = 0;
    if (strcmp(path, "/dev/stdout") == 0)
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    return strcmp(path, "/dev/stderr") == 0 ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) : -1;
}

/* Whether an answer is still to come. */
static bool open_file(struct log_output *o) {
    bool stays = o->next_rings == o->rings && o->now.is_on && strcmp(o->now.path, o->next.path) == 0;
    if (!o->next.is_on || stays)
        return false; /* with other rings it is opened once more, since the writer closes the one before */
    if (!memchr(o->next.path, '\0', sizeof o->next.path)) {
        o->next.path[sizeof o->next.path - 1] = '\0';
        complain(o, ERROR_RANGE, strerror(ENAMETOOLONG));
        return false;
    }
    o->next_fd = open_own(o->next.path);
    if (o->next_fd < 0 && errno)
        complain(o, ERROR_IO, strerror(errno));
    else if (o->next_fd < 0 && holder_open_log(o->holder, o->next.path, on_file, o) == 0)
        return true;
    else if (o->next_fd < 0)
        complain(o, ERROR_MEMORY, strerror(ENOMEM));
    return false;
}

static void make_rings(struct log_output *o) {
    bool stays = o->now.is_on && o->now.capacity == o->next.capacity;
    o->next_rings = !o->next.is_on ? NULL
                    : stays        ? o->rings
                                   : log_rings_create(o->writer, o->workers, o->next.capacity);
    if ((o->next.is_on && !o->next_rings) || log_writer_reserve(o->writer) < 0)
        complain(o, ERROR_MEMORY, "no memory for its buffers");
}

void log_output_prepare(struct log_output *o, const struct resource_set *resources, struct error_list *errors,
                        void (*done)(void *arg), void *arg) {
    o->is_preparing = true;
    o->next = read_wish(resources);
    o->next_fd = -1;
    o->errors = errors;
    o->done = done;
    o->arg = arg;
    make_rings(o);
    if (!open_file(o))
        finish_preparing(o);
}

void log_output_abort(struct log_output *o) {
    if (!o->is_preparing)
        return;
    holder_cancel(o->holder, o);
    if (o->next_fd >= 0)
        close(o->next_fd);
    if (o->next_rings != o->rings)
        log_rings_destroy(o->next_rings);
    o->next_fd = -1;
    o->next_rings = NULL;
    o->is_preparing = false;
}

/* ---- using ---- */

struct log_ring *log_output_ring(const struct log_output *o, unsigned worker) {
    const struct log_rings *rings = o->is_preparing ? o->next_rings : o->rings;
    return rings ? &rings->items[worker] : NULL;
}

void log_output_release(struct log_output *o) {
    bool changes = o->next_rings != o->rings || o->next_fd >= 0;
    if (changes) {
        holder_cancel(o->holder, &o->reopening); /* of what may be another file */
        log_writer_set(o->writer, o->next_fd, o->next_rings);
    }
    o->is_preparing = false;
    o->now = o->next;
    o->rings = o->next_rings;
    o->next_rings = NULL;
    o->next_fd = -1;
}

static void on_reopened(void *owner, struct holder_answer *answer) {
    struct log_output *o = (struct log_output *)((char *)owner - offsetof(struct log_output, reopening));
    if (answer->error || answer->count != 1)
        log_error("the access log cannot be opened anew", LOG_S("path", o->now.path),
                  LOG_S("error", strerror(answer->error)));
    else if (log_writer_set(o->writer, answer->fds[0], o->rings) == 0)
        answer->count = 0;
}

void log_output_reopen(struct log_output *o) {
    if (!o->now.is_on || strncmp(o->now.path, "/dev/std", 8) == 0)
        return;
    holder_cancel(o->holder, &o->reopening);
    if (holder_open_log(o->holder, o->now.path, on_reopened, &o->reopening) < 0)
        log_error("the access log cannot be opened anew", LOG_S("path", o->now.path),
                  LOG_S("error", "out of memory"));
}

struct log_writer_counts log_output_counts(const struct log_output *o) {
    return log_writer_counts(o->writer);
}
