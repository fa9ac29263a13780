/* holder_client.h — the data plane's end of dataplane/holder/protocol.h: questions now, answers from the
 * loop. Thread: main. */
#pragma once

#include "common/address.h"
#include "dataplane/holder/protocol.h"

struct ev_loop;
struct holder_client;

struct holder_answer {
    int            error;                       /* 0 or an errno; EPIPE: the holder is gone */
    struct address address;                     /* LISTEN: as bound; CONNECT: the peer */
    struct holder_udp udp;                      /* LISTEN_UDP */
    int            fds[HOLDER_SOCKETS_MAX];     /* close-on-exec */
    unsigned       count;                       /* set to 0 to take the descriptors; what is left is closed */
};

/* Called once per question, from the loop, unless it was cancelled. */
typedef void holder_on_answer(void *owner, struct holder_answer *answer);

/* Takes `fd` over. `on_lost` is called once when the holder is gone. NULL: no memory (fd is closed). */
struct holder_client *holder_client_create(struct ev_loop *loop, int fd, void (*on_lost)(void *owner),
                                           void *owner);
void holder_client_destroy(struct holder_client *h);   /* open questions are cancelled; NULL is allowed */

/* Each returns 0, or -1: no memory, the question was not asked. `on_answer` NULL: the answer does not
 * matter. */
int  holder_listen(struct holder_client *h, const struct address *address, unsigned count, unsigned backlog,
                   holder_on_answer *on_answer, void *owner);
/* One socket for the admin listener; `backlog` 1 to HOLDER_BACKLOG_MAX. */
int  holder_listen_admin(struct holder_client *h, const struct address *address, unsigned backlog,
                         holder_on_answer *on_answer, void *owner);
/* UDP sockets, `wish` within the bounds of the protocol (more is cut). */
int  holder_listen_udp(struct holder_client *h, const struct address *address, unsigned count,
                       const struct holder_udp_wish *wish, holder_on_answer *on_answer, void *owner);
int  holder_unlisten(struct holder_client *h, const struct address *address);
int  holder_unlisten_udp(struct holder_client *h, const struct address *address);
int  holder_unlisten_others(struct holder_client *h);
int  holder_connect_control_plane(struct holder_client *h, holder_on_answer *on_answer, void *owner);
int  holder_open_state_dir(struct holder_client *h, holder_on_answer *on_answer, void *owner);
int  holder_open_log(struct holder_client *h, const char *path, holder_on_answer *on_answer, void *owner);

/* The answers to this owner's questions are thrown away, their descriptors closed. */
void holder_cancel(struct holder_client *h, const void *owner);
