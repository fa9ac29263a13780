/* exchange_private.h — what the files of the exchange share among themselves. Not for codecs, filters or terminals. */
#pragma once

#include "dataplane/http/exchange.h"

/* What a flow may begin with before anything is known of its body: so much is reserved in the worker's budget. */
enum { INITIAL_CREDIT = 16 << 10 };

/* counting.c. It begins, it ends; and why it ends early. */
void count_begin(const struct exchange *x);
void count_over(const struct exchange *x);
void count_abort(const struct exchange *x, enum abort_code code);

void flow_init(struct flow *f, uint64_t limit);
void flow_advance(struct flow *f, enum flow_state to);            /* asserts that it moves right */
/* Issues credit to the source when at least half the limit is free, or when it holds nothing. */
void flow_grant(struct exchange *x, struct flow *f);
/* Raises the credit that the source holds to at most `want` bytes within the limit and the worker's budget, and does not
 * tell it: for the moments at which the source looks by itself. */
void flow_give(struct exchange *x, struct flow *f, uint64_t want);
/* Credit that the source has anyway, whatever the limit and the budget say: it cannot be taken back. */
void flow_open(struct exchange *x, struct flow *f, uint32_t credit);
/* Of an open tunnel, which may wait for days: its credit is given back to the worker's budget if its source lets it. */
void flow_turn_on_demand(struct exchange *x, struct flow *f);
void flow_take_credit(struct exchange *x, struct flow *f);        /* nothing more comes from the source */
void flow_drop(struct exchange *x, struct flow *f);               /* empties the queue and takes credit back */
void flow_push(struct exchange *x, struct flow *f, struct slice *s);
void flow_charge(struct exchange *x, uint64_t more, uint64_t less); /* bytes to the worker's budget */
/* replay.c. The sink of the request takes these bytes. */
void replay_keep(struct exchange *x, const struct slice *s);
void replay_forget(struct exchange *x);                           /* there will be no other attempt */

static inline struct flow *flow_of_source(struct exchange *x, const struct leg *leg) {
    return leg == x->front ? &x->request : &x->response;
}
static inline struct flow *flow_of_sink(struct exchange *x, const struct leg *leg) {
    return leg == x->front ? &x->response : &x->request;
}

void leg_detach(struct exchange *x, struct leg *leg);             /* both pointers are cleared; the codec is not told */
/* Why it ends early; the first reason counts, for the log and for the answer. */
void exchange_note_abort(struct exchange *x, enum abort_code code);
void exchange_over(struct exchange *x);                           /* ends it: legs detached, on the reap list */
/* take_back.c. The response that layers are looking at is replaced by another one: drops its source and what came of its
 * body. */
void exchange_take_back_response(struct exchange *x);
/* The origin broke off. What the front was given of its response is taken back when no byte of it is written: another one
 * can follow. A tunnel that was open stays so, and our own answers are not replaced. */
void response_take_head_back(struct exchange *x);
/* layers.c. The states of all layers in one block: 0, or -1 without memory. */
int  layers_make(struct exchange *x);
void layers_finish(struct exchange *x);                           /* on_done, inner first, once each */
void exchange_enter_layers(struct exchange *x, unsigned from);    /* request head inwards, then the terminal */
void exchange_leave_layers(struct exchange *x);                   /* response head outwards, then the front */
/* request.c. Both ends of the client's connection, for the log services that want to know. */
void exchange_note_ends(struct exchange *x);
/* request.c: route, canonical path, fields for the origin. Returns ABORT_NONE, or why the request is refused. */
enum abort_code request_prepare(struct exchange *x, struct head *head);
/* What goes to the origin: hop-by-hop fields out, forwarding fields in. Once, before the terminal starts. */
enum abort_code request_prepare_forward(struct exchange *x, struct head *head);
/* changes.c: what the rule, and the choice of a cluster, change of a head. 0, or -1 without memory. */
int changes_of_request(struct exchange *x, struct head *head);
int changes_of_response(struct exchange *x, struct head *head);
/* What goes to the client: hop-by-hop fields out, Via and Server in. */
int response_prepare(struct exchange *x, struct head *head);
/* tunnel.c. Whether this request asks for a tunnel that its route allows. */
bool tunnel_is_asked(const struct exchange *x, const struct head *head);
/* Notes it, and that the client's bytes wait. ABORT_NONE, or why the request is refused. */
enum abort_code tunnel_ask(struct exchange *x, struct head *head);
/* The final head has come for a request that asked: opens the tunnel or makes the request an ordinary one. ABORT_NONE, or
 * why the answer cannot be passed on. */
enum abort_code tunnel_answered(struct exchange *x, const struct head *head);
enum abort_code tunnel_abort_code(const struct exchange *x, enum abort_code code); /* for the front */
uint16_t tunnel_status(const struct exchange *x);                 /* by which the client learns that its tunnel is open */
void tunnel_begin(struct exchange *x);                            /* the client knows: its bytes may come */
/* An open tunnel may live for days. Once the head that opened it is written (its fields may be the snapshot's), the log's
 * copies serve instead of the snapshot; where they cannot be made it stays. */
void tunnel_let_snapshot_go(struct exchange *x);
/* A flow has ended at this leg. One that has ended both ways is detached; without legs the exchange is over. */
void tunnel_leave(struct exchange *x, struct leg *leg);
void tunnel_stop(struct exchange *x, struct leg *leg, struct flow *f); /* the leg takes no more of this flow: it has ended */
void tunnel_on_deadline(struct exchange *x);
/* second.c. Neither front nor back. */
static inline bool leg_is_second(const struct exchange *x, const struct leg *leg) {
    return leg != x->front && leg != x->back;
}
bool second_wins(struct exchange *x, const struct head *head);    /* it is the back now */
/* reply.c: gives the exchange a leg that answers with these bytes, which stay valid as long as the exchange. 0 or -1. */
int reply_attach(struct exchange *x, struct head *head, struct str body);
void reply_waited(struct exchange *x);                            /* long enough for the request's body: it answers now */
