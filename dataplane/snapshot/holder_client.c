#include "dataplane/snapshot/holder_client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <ev.h>

#include "common/alloc.h"

struct question {
    struct question      *next;
    holder_on_answer     *on_answer;    /* NULL: thrown away */
    void                 *owner;
    struct holder_request request;
};

struct holder_client {
    struct ev_loop   *loop;
    int               fd;
    ev_io             readable, writable;
    struct question  *first, **end;      /* in the order of the answers */
    struct question **unsent;            /* where the first one that was not sent hangs */
    uint32_t          last_id;
    bool              is_lost;
    void            (*on_lost)(void *owner);
    void             *owner;
};

/* ---- answers ---- */

static void close_rest(struct holder_answer *answer) {
    while (answer->count)
        close(answer->fds[--answer->count]);
}

static void answer_first(struct holder_client *h, struct holder_answer *answer) {
    struct question *q = h->first;
    h->first = q->next;
    if (h->end == &q->next)
        h->end = &h->first;
    if (h->unsent == &q->next)
        h->unsent = &h->first;
    if (q->on_answer)
        q->on_answer(q->owner, answer);
    close_rest(answer);
    hg_free(q);
}

static void lose(struct holder_client *h) {
    if (h->is_lost)
        return;
    h->is_lost = true;
    ev_io_stop(h->loop, &h->readable);
    ev_io_stop(h->loop, &h->writable);
    while (h->first)
        answer_first(h, &(struct holder_answer){.error = EPIPE});
    h->on_lost(h->owner);
}

static void take_descriptors(struct msghdr *message, struct holder_answer *answer) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t size = c->cmsg_len - CMSG_LEN(0);
        memcpy(answer->fds, CMSG_DATA(c), size);
        answer->count = (unsigned)(size / sizeof *answer->fds);
    }
}

static void read_address(const struct holder_reply *reply, struct holder_answer *answer) {
    _Static_assert(sizeof answer->address.u <= sizeof reply->address, "what fits in ours is in the reply");
    if (reply->address_length > sizeof answer->address.u)
        return;
    answer->address.length = reply->address_length;
    memcpy(&answer->address.u, &reply->address, reply->address_length);
}

/* 1: an answer; 0: none for now; -1: the holder is gone, or does not keep to the protocol. */
static int receive_answer(struct holder_client *h, struct holder_answer *answer) {
    union {
        struct cmsghdr header;
        char           bytes[CMSG_SPACE(sizeof answer->fds)];
    } control;
    struct holder_reply reply;
    struct iovec piece = {&reply, sizeof reply};
    struct msghdr message = {
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(h->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (size > 0)
        take_descriptors(&message, answer);
    if (size != sizeof reply || reply.version != HOLDER_PROTOCOL_VERSION || !h->first ||
        h->first->request.id != reply.id)
        return -1;
    answer->error = reply.error ? reply.error : reply.count != answer->count ? EMFILE : 0;
    answer->udp = reply.udp;
    read_address(&reply, answer);
    return 1;
}

static void on_readable(struct ev_loop *loop, ev_io *watcher, int events) {
    struct holder_client *h = watcher->data;
    struct holder_answer answer = {0};
    (void)loop;
    (void)events;
    int status = receive_answer(h, &answer);
    if (status > 0)
        answer_first(h, &answer);
    close_rest(&answer);
    if (status < 0)
        lose(h);
}

/* ---- questions ---- */

static void send_questions(struct holder_client *h) {
    while (*h->unsent) {
        struct question *q = *h->unsent;
        if (send(h->fd, &q->request, sizeof q->request, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            if (errno == EAGAIN || errno == ENOBUFS)
                ev_io_start(h->loop, &h->writable);
            return; /* a holder that is gone is seen by reading */
        }
        h->unsent = &q->next;
    }
    ev_io_stop(h->loop, &h->writable);
}

static void on_writable(struct ev_loop *loop, ev_io *watcher, int events) {
    (void)loop;
    (void)events;
    send_questions(watcher->data);
}

static struct question *new_question(enum holder_operation operation, const struct address *address,
                                     holder_on_answer *on_answer, void *owner) {
    struct question *q = hg_calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->on_answer = on_answer;
    q->owner = owner;
    q->request.version = HOLDER_PROTOCOL_VERSION;
    q->request.operation = (uint8_t)operation;
    if (address) {
        q->request.address_length = address->length;
        memcpy(&q->request.u.address, &address->u, address->length);
    }
    return q;
}

/* The question is asked from here on; NULL is passed through as -1. */
static int ask(struct holder_client *h, struct question *q) {
    if (!q || h->is_lost) {
        hg_free(q);
        return -1;
    }
    q->request.id = ++h->last_id;
    *h->end = q;
    h->end = &q->next;
    send_questions(h);
    return 0;
}

static unsigned at_most(unsigned value, unsigned most) {
    return value < most ? value : most;
}

int holder_listen(struct holder_client *h, const struct address *address, unsigned count, unsigned backlog,
                  holder_on_answer *on_answer, void *owner) {
    struct question *q = new_question(HOLDER_LISTEN, address, on_answer, owner);
    if (q) {
        q->request.count = (uint16_t)at_most(count, HOLDER_SOCKETS_MAX);
        q->request.backlog = backlog < 1 ? 1 : at_most(backlog, HOLDER_BACKLOG_MAX);
    }
    return ask(h, q);
}

int holder_listen_admin(struct holder_client *h, const struct address *address, unsigned backlog,
                        holder_on_answer *on_answer, void *owner) {
    struct question *q = new_question(HOLDER_LISTEN_ADMIN, address, on_answer, owner);
    if (q) {
        q->request.count = 1;
        q->request.backlog = backlog;
    }
    return ask(h, q);
}

int holder_listen_udp(struct holder_client *h, const struct address *address, unsigned count,
                      const struct holder_udp_wish *wish, holder_on_answer *on_answer, void *owner) {
    struct question *q = new_question(HOLDER_LISTEN_UDP, address, on_answer, owner);
    if (q) {
        q->request.count = (uint16_t)at_most(count, HOLDER_SOCKETS_MAX);
        q->request.udp = (struct holder_udp_wish){.receive_buffer = at_most(wish->receive_buffer, HOLDER_UDP_BUFFER_MAX),
                                                  .send_buffer = at_most(wish->send_buffer, HOLDER_UDP_BUFFER_MAX),
                                                  .id_length = wish->id_length};
    }
    return ask(h, q);
}

int holder_unlisten(struct holder_client *h, const struct address *address) {
    return ask(h, new_question(HOLDER_UNLISTEN, address, NULL, NULL));
}

int holder_unlisten_udp(struct holder_client *h, const struct address *address) {
    return ask(h, new_question(HOLDER_UNLISTEN_UDP, address, NULL, NULL));
}

int holder_unlisten_others(struct holder_client *h) {
    return ask(h, new_question(HOLDER_UNLISTEN_OTHERS, NULL, NULL, NULL));
}

int holder_connect_control_plane(struct holder_client *h, holder_on_answer *on_answer, void *owner) {
    return ask(h, new_question(HOLDER_CONNECT_CONTROL_PLANE, NULL, on_answer, owner));
}

int holder_open_state_dir(struct holder_client *h, holder_on_answer *on_answer, void *owner) {
    return ask(h, new_question(HOLDER_STATE_DIR, NULL, on_answer, owner));
}

int holder_open_log(struct holder_client *h, const char *path, holder_on_answer *on_answer, void *owner) {
    struct question *q = new_question(HOLDER_OPEN_LOG, NULL, on_answer, owner);
    if (q)
        memccpy(q->request.u.path, path, '\0',
                sizeof q->request.u.path); /* cut, it has no NUL: the holder refuses it */
    return ask(h, q);
}

void holder_cancel(struct holder_client *h, const void *owner) {
    for (struct question *q = h->first; q; q = q->next)
        if (q->owner == owner)
            q->on_answer = NULL;
}

/* ---- the client ---- */

struct holder_client *holder_client_create(struct ev_loop *loop, int fd, void (*on_lost)(void *owner),
                                           void *owner) {
    struct holder_client *h = hg_calloc(1, sizeof *h);
    if (!h || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        hg_free(h);
        close(fd);
        return NULL;
    }
    *h = (struct holder_client){.loop = loop, .fd = fd, .on_lost = on_lost, .owner = owner};
    h->end = h->unsent = &h->first;
    ev_io_init(&h->readable, on_readable, fd, EV_READ);
    ev_io_init(&h->writable, on_writable, fd, EV_WRITE);
    h->readable.data = h->writable.data = h;
    ev_io_start(loop, &h->readable);
    return h;
}

void holder_client_destroy(struct holder_client *h) {
    if (!h)
        return;
    ev_io_stop(h->loop, &h->readable);
    ev_io_stop(h->loop, &h->writable);
    while (h->first) {
        struct question *q = h->first;
        h->first = q->next;
        hg_free(q);
    }
    close(h->fd);
    hg_free(h);
}
