/* server_private.h — what the files of the server side share: server.c reads requests and owns the connection,
 * server_output.c writes responses and answers the core. For no one else. */
#pragma once

#include "dataplane/codec/h1/body.h"
#include "dataplane/net/conn.h"
#include "dataplane/net/listener.h"

enum { PEER_TEXT = 46, INTERIM_MAX = 4096 };

enum input_state {
    INPUT_HEAD,          /* waiting for, or in, a request head */
    INPUT_BODY,
    INPUT_TUNNEL,        /* the request asked for a tunnel, and what follows it goes there */
    INPUT_DONE,          /* the request is complete, its response is not */
    INPUT_STOPPED,       /* nobody wants the rest of this request: read no more, close after the response */
    INPUT_LINGER,        /* response sent and write side closed: discarding until the client closes */
};

/* What a connection needs only while it has an exchange: in the exchange's arena, so that idle connections stay small. */
struct h1_message {
    struct h1_limits           limits;
    struct h1_body_reader      reader;
    struct h1_body_writer      writer;
    const struct head         *response;      /* to be written; NULL: none or written already */
    struct str                 websocket_key; /* to be answered; empty: none */
    char                      *interim;       /* INTERIM_MAX bytes for interim responses to be written; NULL: none yet */
    size_t                     interim_n;
    uint64_t                   body_began;
    bool                       response_ends; /* no body follows the head */
    bool                       has_response;  /* its head has been taken over by send_head */
    bool                       is_writing;    /* its head is written, the body follows */
    bool                       continue_due;  /* "100 Continue" is to be written */
    bool                       expects;       /* the client waits for it */
    bool                       is_head_request, is_connect;
    bool                       has_ended;     /* a tunnel's bytes for the client are all with the connection */
    bool                       is_old;        /* HTTP/1.0 */
};

struct h1_server {
    struct conn                conn;          /* first */
    struct leg                 leg;
    struct listener_connection membership;
    const struct listener_definition *definition; /* as of the request that was read last */
    struct h1_input            input;
    struct h1_scan             scan;
    struct h1_message         *message;       /* NULL: no exchange */
    enum input_state           state;
    uint32_t                   requests;
    uint32_t                   burst_turn;    /* the lower bits of a turn of the worker */
    uint8_t                    burst;         /* requests begun in it */
    bool                       is_put_off;    /* more is kept and goes on in the next turn */
    bool                       keep_alive;
    bool                       close_after;   /* once everything is written */
    bool                       in_process;
    uint8_t                    peer_n;
    char                       peer[PEER_TEXT];
};

static inline struct h1_server *h1_server_of_leg(struct leg *leg) {
    return (struct h1_server *)((char *)leg - offsetof(struct h1_server, leg));
}

/* ---- server.c */
void h1_server_cut(struct h1_server *s);
void h1_server_give_up(struct h1_server *s, enum abort_code code);
void h1_server_process_kept(struct h1_server *s);
void h1_server_await_request(struct h1_server *s);
void h1_server_await_body(struct h1_server *s);
void h1_server_await_close(struct h1_server *s);

/* ---- server_output.c */
extern const struct leg_ops h1_server_leg_ops;
void h1_server_on_dirty(struct conn *c);
bool h1_server_produce(struct conn *c, struct gather *g);
void h1_server_on_written(struct conn *c);
