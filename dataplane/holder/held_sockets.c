#include "dataplane/holder/held_sockets.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/udp_options.h"

static bool has_path(const struct address *a) {
    return a->u.any.sa_family == AF_UNIX && a->u.un.sun_path[0] != '\0';
}

static int set_on(int fd, int level, int option) {
    return setsockopt(fd, level, option, &(int){1}, sizeof(int));
}

/* ---- one socket ---- */

/* A file that nobody listens on is what a killed process leaves behind. */
static bool is_stale(const struct address *a) {
    struct stat st;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool is_refused = connect(probe, &a->u.any, a->length) < 0 && errno == ECONNREFUSED;
    close(probe);
    return is_refused && lstat(a->u.un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int bind_path(int fd, const struct address *a) {
    mode_t old = umask(0111); /* who may connect is a matter of the folder */
    int status = bind(fd, &a->u.any, a->length);
    if (status < 0 && errno == EADDRINUSE) {
        if (is_stale(a) && unlink(a->u.un.sun_path) == 0)
            status = bind(fd, &a->u.any, a->length);
        else
            errno = EADDRINUSE;
    }
    umask(old);
    return status;
}

static int prepare_inet(int fd, const struct address *a, bool joins) {
    if (set_on(fd, SOL_SOCKET, SO_REUSEADDR) < 0 || (joins && set_on(fd, SOL_SOCKET, SO_REUSEPORT) < 0))
        return -1;
    /* [::] and 0.0.0.0 are two addresses, so that both can be listened on. */
    return a->u.any.sa_family == AF_INET6 ? set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY) : 0;
}

/* The first socket of an address is bound and listens without SO_REUSEPORT: EADDRINUSE if anybody listens there. Then it
 * becomes the first of the group that the others join. Binding alone proves nothing: with SO_REUSEADDR two processes may
 * bind at the same moment, and only one of them may listen. */
static int bind_inet(int fd, const struct address *a, bool joins) {
    if (prepare_inet(fd, a, joins) < 0 || bind(fd, &a->u.any, a->length) < 0)
        return -1;
    if (joins)
        return 0;
    return listen(fd, SOMAXCONN) < 0 ? -1 : set_on(fd, SOL_SOCKET, SO_REUSEPORT);
}

/* Likewise of UDP, where SO_REUSEADDR would let others in: an address in use shows when it is bound. */
static int bind_udp(int fd, const struct address *a, bool joins) {
    bool is_ipv6 = a->u.any.sa_family == AF_INET6;
    if (udp_set_options(fd, a->u.any.sa_family, true) < 0 || (is_ipv6 && set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY) < 0) ||
        (joins && set_on(fd, SOL_SOCKET, SO_REUSEPORT) < 0) || bind(fd, &a->u.any, a->length) < 0)
        return -1;
    return joins ? 0 : set_on(fd, SOL_SOCKET, SO_REUSEPORT);
}

static int open_socket(const struct address *a, enum held_for purpose, bool joins) {
    int type = purpose == HELD_FOR_UDP ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(a->u.any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int status = purpose == HELD_FOR_UDP        ? bind_udp(fd, a, joins)
                 : a->u.any.sa_family != AF_UNIX ? bind_inet(fd, a, joins)
                 : has_path(a)                   ? bind_path(fd, a)
                                                 : bind(fd, &a->u.any, a->length);
    if (status == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- one address ---- */

static void remove_file(const struct held_sockets *held, const struct held_address *h) {
    struct stat st;
    if (!has_path(&h->bound) || h->inode == 0)
        return;
    identity_enter_files(&held->files);
    if (lstat(h->bound.u.un.sun_path, &st) == 0 && st.st_dev == h->device && st.st_ino == h->inode)
        unlink(h->bound.u.un.sun_path);
    identity_leave_files(&held->files);
}

/* The port that the system picked for the first socket is the one that the others join. */
static int learn_address(struct held_address *h) {
    struct address bound = {.length = sizeof bound.u};
    if (h->asked.u.any.sa_family == AF_UNIX)
        return 0;
    if (getsockname(h->fds[0], &bound.u.any, &bound.length) < 0)
        return errno;
    h->bound = bound;
    return 0;
}

/* Opens sockets until there are `count`. Returns 0 or an errno; what was opened stays in h->fds. */
static int open_up_to(struct held_address *h, unsigned count) {
    int error = 0;
    while (!error && h->count < count) {
        int fd = open_socket(&h->bound, h->purpose, h->count > 0);
        if (fd < 0)
            return errno;
        h->fds[h->count++] = fd;
        if (h->count == 1)
            error = learn_address(h);
    }
    return error;
}

static int listen_from(const struct held_address *h, unsigned first, int backlog) {
    for (unsigned i = first; i < h->count && h->purpose != HELD_FOR_UDP; i++)
        if (listen(h->fds[i], backlog) < 0)
            return errno;
    return 0;
}

static void remember_file(struct held_address *h) {
    struct stat st;
    if (lstat(h->bound.u.un.sun_path, &st) == 0) {
        h->device = st.st_dev;
        h->inode = st.st_ino;
    }
}

static void close_from(struct held_address *h, unsigned first) {
    while (h->count > first)
        close(h->fds[--h->count]);
}

/* ---- all of them ---- */

static struct held_address **find(struct held_sockets *held, enum held_for purpose,
                                  const struct address *asked) {
    struct held_address **at = &held->first;
    while (*at && ((*at)->purpose != purpose || !address_equal(&(*at)->asked, asked)))
        at = &(*at)->next;
    return at;
}

static void drop(struct held_sockets *held, struct held_address **at) {
    struct held_address *h = *at;
    *at = h->next;
    held->addresses--;
    held->sockets -= h->count;
    remove_file(held, h);
    steering_forget(held->udp.programs, &h->steering);
    close_from(h, 0);
    hg_free(h);
}

/* A path is used with the rights of the data plane's user. What belongs to a port is always ours: SO_REUSEPORT asks for one
 * owner of all its sockets, those of another moment too. */
static int open_first(const struct held_sockets *held, struct held_address *h, unsigned count) {
    if (!has_path(&h->asked))
        return open_up_to(h, count);
    identity_enter_files(&held->files);
    int error = open_up_to(h, count);
    if (!error)
        remember_file(h);
    identity_leave_files(&held->files);
    return error;
}

/* `at` is the end of the list. */
static int add(struct held_sockets *held, struct held_address **at, enum held_for purpose,
               const struct address *asked, unsigned count, int backlog) {
    struct held_address *h = hg_calloc(1, sizeof *h + count * sizeof *h->fds);
    if (!h)
        return ENOMEM;
    h->purpose = purpose;
    h->asked = h->bound = *asked;
    steering_group_init(&h->steering);
    int error = open_first(held, h, count);
    if (!error)
        error = listen_from(h, 0, backlog);
    *at = h;
    held->addresses++;
    held->sockets += h->count;
    if (error)
        drop(held, at);
    return error;
}

/* `at` is where the address hangs. On failure it is as it was. */
static int widen(struct held_sockets *held, struct held_address **at, unsigned count, int backlog) {
    struct held_address *h = hg_realloc(*at, sizeof *h + count * sizeof *h->fds);
    if (!h)
        return ENOMEM;
    *at = h;
    unsigned before = h->count;
    int error = open_up_to(h, count);
    if (!error)
        error = listen_from(h, before, backlog);
    if (error)
        close_from(h, before);
    held->sockets += h->count - before;
    return error;
}

int held_sockets_listen(struct held_sockets *held, enum held_for purpose, const struct address *asked,
                        unsigned count, int backlog, struct held_address **ret) {
    if (asked->u.any.sa_family == AF_UNIX)
        count = 1;
    struct held_address **at = find(held, purpose, asked);
    unsigned present = *at ? (*at)->count : 0, more = count > present ? count - present : 0;
    if ((!*at && held->addresses >= HOLDER_ADDRESSES_MAX) || held->sockets + more > held->sockets_max)
        return EMFILE;
    int error = !*at   ? add(held, at, purpose, asked, count, backlog)
                : more ? widen(held, at, count, backlog)
                       : listen_from(*at, 0, backlog); /* takes over a changed backlog */
    if (error)
        return error;
    (*at)->is_claimed = true;
    *ret = *at;
    return 0;
}

int held_sockets_unlisten(struct held_sockets *held, enum held_for purpose, const struct address *asked) {
    struct held_address **at = find(held, purpose, asked);
    if (!*at)
        return ENOENT;
    drop(held, at);
    return 0;
}

void held_sockets_unclaim(struct held_sockets *held) {
    for (struct held_address *h = held->first; h; h = h->next)
        h->is_claimed = false;
}

void held_sockets_unlisten_unclaimed(struct held_sockets *held) {
    for (struct held_address **at = &held->first; *at;)
        if ((*at)->is_claimed)
            at = &(*at)->next;
        else
            drop(held, at);
}

void held_sockets_finish(struct held_sockets *held) {
    while (held->first)
        drop(held, &held->first);
}
