#include "dataplane/holder/requests.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- what a request may hold ---- */

static int read_inet(const struct holder_request *q, struct address *ret) {
    struct address a = {.length = sizeof a.u.v4};
    if (q->address_length != sizeof a.u.v4)
        return EINVAL;
    memcpy(&a.u.v4, &q->u.address, sizeof a.u.v4);
    memset(a.u.v4.sin_zero, 0, sizeof a.u.v4.sin_zero);
    *ret = a;
    return 0;
}

static int read_inet6(const struct holder_request *q, struct address *ret) {
    struct address a = {.length = sizeof a.u.v6};
    if (q->address_length != sizeof a.u.v6)
        return EINVAL;
    memcpy(&a.u.v6, &q->u.address, sizeof a.u.v6);
    a.u.v6.sin6_flowinfo = 0;
    *ret = a;
    return 0;
}

/* An abstract name, or an absolute path that ends in the one NUL that is counted. */
static int read_unix(const struct holder_request *q, struct address *ret) {
    const size_t head = offsetof(struct sockaddr_un, sun_path);
    struct address a = {.length = q->address_length};
    if (q->address_length < head + 2 || q->address_length > sizeof a.u.un)
        return EINVAL;
    memcpy(&a.u.un, &q->u.address, q->address_length);
    size_t n = q->address_length - head;
    if (a.u.un.sun_path[0] != '\0' && (a.u.un.sun_path[0] != '/' || strnlen(a.u.un.sun_path, n) != n - 1))
        return EINVAL;
    *ret = a;
    return 0;
}

static int read_address(const struct holder_request *q, struct address *ret) {
    switch (q->u.address.ss_family) {
    case AF_INET: return read_inet(q, ret);
    case AF_INET6: return read_inet6(q, ret);
    case AF_UNIX: return read_unix(q, ret);
    default: return EAFNOSUPPORT;
    }
}

/* ---- the operations: each returns 0 or an errno ---- */

static void give(struct requests *r, int fd) {
    r->fds[0] = fd;
    r->reply.count = 1;
}

static void give_address(struct requests *r, const struct address *a) {
    r->reply.address_length = a->length;
    memcpy(&r->reply.address, &a->u, a->length);
}

static void give_held(struct requests *r, const struct held_address *held) {
    give_address(r, &held->bound);
    memcpy(r->fds, held->fds, held->count * sizeof *r->fds);
    r->reply.count = (uint16_t)held->count;
}

static int do_listen(struct requests *r, const struct holder_request *q) {
    struct address asked;
    struct held_address *held;
    enum held_for purpose = q->operation == HOLDER_LISTEN ? HELD_FOR_LISTENERS : HELD_FOR_ADMIN;
    if (q->count < 1 || q->count > HOLDER_SOCKETS_MAX || q->backlog < 1 || q->backlog > HOLDER_BACKLOG_MAX)
        return EINVAL;
    int error = read_address(q, &asked);
    if (!error)
        error = held_sockets_listen(&r->sockets, purpose, &asked, q->count, (int)q->backlog, &held);
    if (!error)
        give_held(r, held);
    return error;
}

static bool is_fit_for_udp(const struct holder_request *q) {
    const struct holder_udp_wish *wish = &q->udp;
    return q->count >= 1 && q->count <= HOLDER_SOCKETS_MAX && wish->receive_buffer <= HOLDER_UDP_BUFFER_MAX &&
           wish->send_buffer <= HOLDER_UDP_BUFFER_MAX &&
           (!wish->id_length || (wish->id_length >= HOLDER_ID_LENGTH_MIN && wish->id_length <= HOLDER_ID_LENGTH_MAX));
}

static int do_listen_udp(struct requests *r, const struct holder_request *q) {
    struct address asked;
    struct held_address *held;
    if (!is_fit_for_udp(q))
        return EINVAL;
    int error = read_address(q, &asked);
    if (!error && asked.u.any.sa_family == AF_UNIX)
        error = EAFNOSUPPORT;
    if (!error)
        error = held_sockets_listen(&r->sockets, HELD_FOR_UDP, &asked, q->count, 0, &held);
    if (error)
        return error;
    held_sockets_set_udp(&r->sockets, held, &q->udp, &r->reply.udp);
    give_held(r, held);
    return 0;
}

static int do_unlisten(struct requests *r, const struct holder_request *q) {
    struct address asked;
    enum held_for purpose = q->operation == HOLDER_UNLISTEN ? HELD_FOR_LISTENERS : HELD_FOR_UDP;
    int error = read_address(q, &asked);
    return error ? error : held_sockets_unlisten(&r->sockets, purpose, &asked);
}

static int do_connect(struct requests *r) {
    struct address to;
    int unresolved = resolver_next(&r->control_plane, &to);
    if (unresolved)
        return unresolved;
    int fd = socket(to.u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    if (connect(fd, &to.u.any, to.length) < 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return error;
    }
    give(r, fd);
    give_address(r, &to);
    r->owns_fds = true;
    return 0;
}

static int do_state_dir(struct requests *r) {
    if (r->state_dir < 0)
        return ENOENT;
    give(r, r->state_dir);
    return 0;
}

static bool is_log_file(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 &&
           (S_ISREG(st.st_mode) || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)));
}

static int do_open_log(struct requests *r, const struct holder_request *q) {
    const char *path = q->u.path;
    if (path[0] != '/' || strnlen(path, HOLDER_PATH_MAX) == HOLDER_PATH_MAX)
        return EINVAL;
    identity_enter_files(&r->sockets.files);
    /* Non-blocking, so that a path which turns out to be a pipe cannot stop us; the flag means nothing for
     * a file. */
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    int error = fd < 0 ? errno : 0;
    identity_leave_files(&r->sockets.files);
    if (error)
        return error;
    if (!is_log_file(fd)) {
        close(fd);
        return EINVAL;
    }
    give(r, fd);
    r->owns_fds = true;
    return 0;
}

static int do_unlisten_others(struct requests *r) {
    held_sockets_unlisten_unclaimed(&r->sockets);
    return 0;
}

/* Whatever an operation does not take is zero. */
static bool has_its_fields(const struct holder_request *q) {
    static const struct holder_udp_wish none;
    bool is_udp = q->operation == HOLDER_LISTEN_UDP;
    bool takes_backlog = q->operation == HOLDER_LISTEN || q->operation == HOLDER_LISTEN_ADMIN;
    bool takes_sockets = is_udp || takes_backlog;
    bool takes_address = takes_sockets || q->operation == HOLDER_UNLISTEN || q->operation == HOLDER_UNLISTEN_UDP;
    return (takes_sockets || !q->count) && (takes_backlog || !q->backlog) && (takes_address || !q->address_length) &&
           (is_udp || memcmp(&q->udp, &none, sizeof none) == 0);
}

static int do_operation(struct requests *r, const struct holder_request *q) {
    if (!has_its_fields(q))
        return EINVAL;
    switch (q->operation) {
    case HOLDER_LISTEN:
    case HOLDER_LISTEN_ADMIN: return do_listen(r, q);
    case HOLDER_LISTEN_UDP: return do_listen_udp(r, q);
    case HOLDER_UNLISTEN:
    case HOLDER_UNLISTEN_UDP: return do_unlisten(r, q);
    case HOLDER_CONNECT_CONTROL_PLANE: return do_connect(r);
    case HOLDER_STATE_DIR: return do_state_dir(r);
    case HOLDER_OPEN_LOG: return do_open_log(r, q);
    case HOLDER_UNLISTEN_OTHERS: return do_unlisten_others(r);
    default: return EPROTO;
    }
}

void requests_answer(struct requests *r, const struct holder_request *request, size_t size) {
    r->reply = (struct holder_reply){.version = HOLDER_PROTOCOL_VERSION};
    r->owns_fds = false;
    r->has_reply = true;
    if (size != sizeof *request || request->version != HOLDER_PROTOCOL_VERSION) {
        r->reply.error = EPROTO;
        return;
    }
    r->reply.operation = request->operation;
    r->reply.id = request->id;
    r->reply.error = do_operation(r, request);
}

/* ---- the socket ---- */

static void forget_reply(struct requests *r) {
    for (unsigned i = 0; r->has_reply && r->owns_fds && i < r->reply.count; i++)
        close(r->fds[i]);
    r->has_reply = false;
    r->owns_fds = false;
}

static ssize_t send_reply(const struct requests *r, int channel) {
    union {
        struct cmsghdr header;
        char           bytes[CMSG_SPACE(sizeof r->fds)];
    } control = {0};
    size_t size = r->reply.count * sizeof *r->fds;
    struct iovec piece = {(void *)&r->reply, sizeof r->reply};
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (size) {
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), r->fds, size);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
    }
    return sendmsg(channel, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Returns 0 (sent, or to be tried again) or -1. */
static int flush_reply(struct requests *r, int channel) {
    if (send_reply(r, channel) >= 0) {
        forget_reply(r);
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return 0;
    if (errno != ETOOMANYREFS)
        return -1;
    /* Too many descriptors are on their way already: it has to read them first. */
    struct holder_reply refusal = {
        .version = r->reply.version, .operation = r->reply.operation, .id = r->reply.id, .error = EMFILE};
    forget_reply(r);
    r->reply = refusal;
    r->has_reply = true;
    return 0;
}

int requests_serve(struct requests *r, int channel) {
    struct holder_request request;
    if (!r->has_reply) {
        /* Without room for control messages: descriptors that come along are dropped by the kernel. */
        ssize_t size = recv(channel, &request, sizeof request, MSG_DONTWAIT | MSG_TRUNC);
        if (size <= 0)
            return size < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        requests_answer(r, &request, (size_t)size);
    }
    return flush_reply(r, channel);
}

void requests_reset(struct requests *r) {
    forget_reply(r);
    held_sockets_unclaim(&r->sockets);
}

void requests_begin(struct requests *r) {
    requests_reset(r);
    r->sockets.udp.generation++;
}

void requests_finish(struct requests *r) {
    forget_reply(r);
    held_sockets_finish(&r->sockets);
    resolver_finish(&r->control_plane);
    if (r->state_dir >= 0)
        close(r->state_dir);
    r->state_dir = -1;
}
