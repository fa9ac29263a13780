#include "controlplane/etcd/follower.h"

#include <stdlib.h>

#include "common/alloc.h"
#include "proto/message.h"

enum { RETRY_MIN_US = 100000, RETRY_MAX_US = 10000000 };

static const double SHORT_SECONDS = 5.; /* a watch that ended earlier makes the next wait longer */

struct etcd_follower {
    struct etcd         *etcd;
    struct etcd_mirror   mirror;
    struct etcd_call     call;
    struct rpc_stream   *watch;
    size_t               member;        /* of the watch */
    bool                 is_watching;   /* etcd said so */
    bool                 was_compacted; /* that ended the last one */
    ev_tstamp            began;         /* the watch */
    ev_timer             again;         /* asks; of a watch that is not confirmed, the end */
    uint64_t             retry;         /* the last wait; 0: all was well */
    struct etcd_follower_counters counters;
};

static struct ev_loop *loop_of(const struct etcd_follower *f) {
    return etcd_rpc(f->etcd)->ev;
}

static void wait(struct etcd_follower *f, uint64_t microseconds) {
    ev_timer_stop(loop_of(f), &f->again);
    ev_timer_set(&f->again, (double)microseconds / 1e6, 0.);
    ev_timer_start(loop_of(f), &f->again);
}

/* Half of it for certain, the rest by chance, so that a fleet does not come at once. */
static void wait_longer(struct etcd_follower *f) {
    uint64_t next = f->retry ? f->retry * 2 : RETRY_MIN_US;
    f->retry = next < RETRY_MAX_US ? next : RETRY_MAX_US;
    wait(f, f->retry / 2 + arc4random_uniform((uint32_t)f->retry / 2));
}

static void fail(struct etcd_follower *f, const char *reason) {
    f->counters.failures++;
    wait_longer(f);
    f->mirror.ops->failed(f->mirror.context, reason);
}

/* ---- ranges ---- */

static void ask(struct etcd_follower *f);

static void on_range(void *context, const ProtobufCMessage *reply, grpc_status_code status, struct str text) {
    struct etcd_follower *f = context;
    struct strbuf reason = {0};
    const char *wrong = NULL;
    if (reply) {
        f->counters.lists += f->mirror.step == ETCD_LIST && !((const Etcdserverpb__RangeResponse *)reply)->more;
        wrong = etcd_mirror_take_range(&f->mirror, (const Etcdserverpb__RangeResponse *)reply);
    } else {
        etcd_mirror_range_failed(&f->mirror, status == GRPC_STATUS_OUT_OF_RANGE, status == GRPC_STATUS_RESOURCE_EXHAUSTED);
        etcd_format_failure(status, text, &reason);
        wrong = reason.failed ? "out of memory" : reason.p;
    }
    if (wrong)
        fail(f, wrong);
    else
        ask(f);
    strbuf_finish(&reason);
}

static int ask_range(struct etcd_follower *f, struct error_list *errors) {
    Etcdserverpb__RangeRequest request;
    etcd_mirror_range(&f->mirror, &request);
    return etcd_call_begin(f->etcd, &f->call, ETCD_RANGE, &request.base, errors);
}

/* ---- the watch ---- */

/* After one that lived, at once: a member went away, and what is asked next finds another. `reason` NULL: it was compacted,
 * which is no failure; at once, too, but for a server that says so again and again. */
static void end_watch(struct etcd_follower *f, const char *reason) {
    bool has_lived = f->is_watching && ev_now(loop_of(f)) - f->began > SHORT_SECONDS;
    bool is_at_once = has_lived || (!reason && !f->was_compacted);
    f->watch = NULL;
    f->was_compacted = !reason;
    f->counters.failures += reason != NULL;
    if (has_lived)
        f->retry = 0;
    if (is_at_once)
        wait(f, 0);
    else
        wait_longer(f);
    if (reason && !has_lived)
        f->mirror.ops->failed(f->mirror.context, reason);
}

static void take_watch(struct etcd_follower *f, const Etcdserverpb__WatchResponse *reply) {
    bool is_due;
    const char *wrong = etcd_mirror_take_watch(&f->mirror, reply, &is_due);
    if (wrong) {
        rpc_stream_abandon(f->watch);
        end_watch(f, is_due ? NULL : wrong);
        return;
    }
    f->is_watching = true;
    ev_timer_stop(loop_of(f), &f->again);
    f->counters.watches += reply->created;
    f->counters.events += reply->n_events > 0;
    rpc_stream_read(f->watch);
}

static void on_message(void *owner, struct str bytes) {
    struct etcd_follower *f = owner;
    ProtobufCMessage *reply = NULL;
    if (message_unpack(&etcdserverpb__watch_response__descriptor, NULL, bytes, &reply) < 0) {
        rpc_stream_abandon(f->watch);
        etcd_mirror_watch_failed(&f->mirror);
        end_watch(f, "an answer of etcd that cannot be read");
        return;
    }
    take_watch(f, (const Etcdserverpb__WatchResponse *)reply);
    protobuf_c_message_free_unpacked(reply, NULL);
}

static void on_closed(void *owner, grpc_status_code status, struct str text) {
    struct etcd_follower *f = owner;
    struct strbuf reason = {0};
    etcd_watch_ended(f->etcd, f->member, status, text);
    etcd_mirror_watch_failed(&f->mirror);
    etcd_format_failure(status, text, &reason);
    end_watch(f, reason.failed ? "out of memory" : reason.p);
    strbuf_finish(&reason);
}

/* Its member does not say that it watches. */
static void give_up_watch(struct etcd_follower *f) {
    rpc_stream_abandon(f->watch);
    on_closed(f, GRPC_STATUS_DEADLINE_EXCEEDED, STR("the watch is not confirmed"));
}

static const struct rpc_stream_handlers handlers = {.message = on_message, .closed = on_closed};

static int send_request(struct etcd_follower *f) {
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    Etcdserverpb__WatchCreateRequest create;
    uint8_t bytes[2 * ETCD_PREFIX_MAX + 128];
    etcd_mirror_watch(&f->mirror, &create);
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    if (protobuf_c_message_get_packed_size(&request.base) > sizeof bytes)
        return -1;
    size_t n = protobuf_c_message_pack(&request.base, bytes);
    return rpc_stream_send(f->watch, (struct str){(char *)bytes, n});
}

static int open_watch(struct etcd_follower *f, struct error_list *errors) {
    f->watch = etcd_open_watch(f->etcd, &handlers, f, &f->member, errors);
    f->is_watching = false;
    ev_now_update(loop_of(f)); /* to take what was listed can have been long */
    f->began = ev_now(loop_of(f));
    if (!f->watch)
        return -1;
    if (send_request(f) < 0) {
        rpc_stream_abandon(f->watch);
        f->watch = NULL;
        return -1;
    }
    rpc_stream_read(f->watch);
    wait(f, ETCD_CALL_TIMEOUT_US);
    return 0;
}

/* ---- what is next ---- */

static void ask(struct etcd_follower *f) {
    struct error_list errors = {0};
    int status = f->mirror.step == ETCD_WATCH ? open_watch(f, &errors) : ask_range(f, &errors);
    if (status < 0)
        fail(f, errors.count ? errors.items[0].message : "no memory to ask etcd");
    error_list_finish(&errors);
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    struct etcd_follower *f = timer->data;
    if (f->watch)
        give_up_watch(f);
    else
        ask(f);
}

/* ---- life ---- */

struct etcd_follower *etcd_follow(struct etcd *e, const char *prefix, const struct etcd_mirror_ops *ops, void *context) {
    struct etcd_follower *f = hg_calloc(1, sizeof *f);
    struct strbuf whole = {0};
    strbuf_printf(&whole, "%s/%s", etcd_prefix(e), prefix);
    if (!f || whole.failed || etcd_mirror_init(&f->mirror, whole.p, ops, context) < 0) {
        hg_free(f);
        strbuf_finish(&whole);
        return NULL;
    }
    strbuf_finish(&whole);
    f->etcd = e;
    f->call = (struct etcd_call){.done = on_range, .context = f};
    ev_timer_init(&f->again, on_again, 0., 0.);
    ev_set_priority(&f->again, EV_MINPRI); /* after answers that came while the loop was busy: they are not late */
    f->again.data = f;
    ev_timer_start(loop_of(f), &f->again);
    return f;
}

void etcd_unfollow(struct etcd_follower *f) {
    if (!f)
        return;
    ev_timer_stop(loop_of(f), &f->again);
    etcd_call_abandon(&f->call);
    rpc_stream_abandon(f->watch);
    etcd_mirror_finish(&f->mirror);
    hg_free(f);
}

struct etcd_follower_counters etcd_follower_counters(const struct etcd_follower *f) {
    struct etcd_follower_counters counters = f->counters;
    counters.revision = f->mirror.step == ETCD_LIST ? 0 : (uint64_t)f->mirror.revision;
    return counters;
}
