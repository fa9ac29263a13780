#include "controlplane/etcd/layer.h"

#include <stdio.h>

#include "common/alloc.h"
#include "common/log.h"

enum { ERRORS_LOGGED = 20 };

static const double RETRY_MIN = 1., RETRY_MAX = 60.; /* seconds, after a refusal, or without memory */

struct etcd_layer {
    struct etcd            *etcd;
    struct etcd_follower   *follower;
    struct etcd_layer_sink  sink;
    struct etcd_intent      intent;
    struct etcd_made        made;       /* of what was looked at last; its set was handed on */
    struct error_list       errors;
    enum etcd_layer_state   state;
    uint64_t                version;    /* in use */
    uint64_t                mark;       /* of what was looked at last */
    bool                    is_known;   /* something was looked at */
    bool                    is_asking;  /* the sink has not answered */
    bool                    is_due;     /* there is news since it was asked */
    ev_timer                again;      /* after a refusal, or without memory */
    double                  retry;
    char                    failure[512];
};

static struct ev_loop *loop_of(const struct etcd_layer *l) {
    return etcd_rpc(l->etcd)->ev;
}

static void clear_errors(struct etcd_layer *l) {
    error_list_finish(&l->errors);
    l->errors = (struct error_list){0};
}

static void log_errors(const struct etcd_layer *l, const char *what) {
    for (size_t i = 0; i < l->errors.count && i < ERRORS_LOGGED; i++) {
        struct strbuf text = {0};
        error_format(&l->errors.items[i], &text);
        log_warning(what, LOG_S("reason", text.failed ? "out of memory" : text.p));
        strbuf_finish(&text);
    }
}

/* ---- what the sink says ---- */

static void look(struct etcd_layer *l);

static void retry(struct etcd_layer *l) {
    l->retry = l->retry > 0. ? l->retry * 2. : RETRY_MIN;
    if (l->retry > RETRY_MAX)
        l->retry = RETRY_MAX;
    ev_timer_stop(loop_of(l), &l->again);
    ev_timer_set(&l->again, l->retry, 0.);
    ev_timer_start(loop_of(l), &l->again);
}

/* Of a problem about a resource of ours: the key that has it. */
static void take_problem(struct etcd_layer *l, const Headgate__Problem *p) {
    struct strbuf file = {0};
    struct error *e = error_addf(&l->errors, ERROR_INTEGRITY, "%s", p->message ? p->message : "refused");
    if (p->resource)
        strbuf_printf(&file, ETCD_CONFIG ETCD_GENERATIONS "%s/%s", l->made.pointer.generation, p->resource);
    error_set_place(&l->errors, e, file.n && !file.failed ? file.p : NULL, 0, 0);
    error_set_resource(&l->errors, e, NULL, p->path);
    strbuf_finish(&file);
}

static void take_refusal(struct etcd_layer *l, const Headgate__PushReply *reply) {
    l->state = ETCD_LAYER_REFUSED;
    clear_errors(l);
    for (size_t i = 0; i < reply->n_problems; i++)
        if (!reply->problems[i]->is_warning)
            take_problem(l, reply->problems[i]);
    log_errors(l, "the configuration of etcd is refused here");
    retry(l);
}

static void on_done(void *context, const Headgate__PushReply *reply) {
    struct etcd_layer *l = context;
    l->is_asking = false;
    if (reply->outcome == HEADGATE__PUSH_REPLY__OUTCOME__REFUSED) {
        take_refusal(l, reply);
    } else {
        if (l->version != l->made.pointer.version)
            log_info("the configuration of etcd is in use", LOG_I("version", (long long)l->made.pointer.version));
        l->version = l->made.pointer.version;
        l->state = ETCD_LAYER_IN_USE;
        l->retry = 0.;
        clear_errors(l);
    }
    if (l->is_due)
        look(l);
}

/* ---- what etcd has ---- */

static void hand_on(struct etcd_layer *l) {
    l->state = ETCD_LAYER_APPLYING;
    l->is_asking = true;
    if (l->sink.set(l->sink.context, &l->made.set, on_done, l) == 0)
        return;
    l->is_asking = false;
    l->state = ETCD_LAYER_REFUSED;
    error_addf(&l->errors, ERROR_MEMORY, "no memory for the configuration of etcd");
    retry(l);
}

/* It may be right: there was no memory to say so, or not even to say that. */
static bool was_without_memory(const struct error_list *errors) {
    bool was = errors->count == 0;
    for (size_t i = 0; i < errors->count && !was; i++)
        was = errors->items[i].code == ERROR_MEMORY;
    return was;
}

static void look(struct etcd_layer *l) {
    int64_t modified;
    ev_timer_stop(loop_of(l), &l->again);
    l->is_due = l->is_asking || !l->follower;
    if (l->is_due)
        return;
    l->mark = etcd_intent_mark(&l->intent);
    l->is_known = true;
    etcd_made_finish(&l->made);
    clear_errors(l);
    if (etcd_intent_make(&l->intent, &l->made, &l->errors) == 0) {
        hand_on(l);
        return;
    }
    if (was_without_memory(&l->errors))
        retry(l);
    l->state = etcd_intent_has_current(&l->intent, &modified) ? ETCD_LAYER_INVALID : ETCD_LAYER_EMPTY;
    if (l->state == ETCD_LAYER_EMPTY && !l->version)
        clear_errors(l); /* etcd may be there for its endpoints alone */
    log_errors(l, "the configuration of etcd is not used: what was in use stays");
}

static void on_again(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    look(timer->data);
}

/* ---- the follower's ---- */

static void on_list(void *context) {
    etcd_intent_list(&((struct etcd_layer *)context)->intent);
}

static bool on_set(void *context, struct str key, struct str value, int64_t modified) {
    return etcd_intent_set(&((struct etcd_layer *)context)->intent, key, value, modified);
}

static void on_removed(void *context, struct str key) {
    etcd_intent_removed(&((struct etcd_layer *)context)->intent, key);
}

static void on_settled(void *context) {
    struct etcd_layer *l = context;
    etcd_intent_settled(&l->intent);
    if (!l->is_known || l->mark != etcd_intent_mark(&l->intent))
        look(l);
}

static bool is_list_due(void *context) {
    return etcd_intent_is_list_due(&((struct etcd_layer *)context)->intent);
}

static void on_watching(void *context) {
    struct etcd_layer *l = context;
    if (l->failure[0])
        log_info("etcd is followed again");
    l->failure[0] = '\0';
}

static void on_failed(void *context, const char *reason) {
    struct etcd_layer *l = context;
    if (!l->failure[0])
        log_warning("etcd cannot be followed: what is known stays", LOG_S("reason", reason));
    snprintf(l->failure, sizeof l->failure, "%s", reason);
}

static const struct etcd_mirror_ops ops = {.list = on_list, .set = on_set, .removed = on_removed, .settled = on_settled,
                                           .watching = on_watching, .failed = on_failed, .is_list_due = is_list_due};

/* ---- life ---- */

struct etcd_layer *etcd_layer_create(struct etcd *e, const struct etcd_layer_sink *sink) {
    struct etcd_layer *l = hg_calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->etcd = e;
    l->sink = *sink;
    ev_timer_init(&l->again, on_again, 0., 0.);
    l->again.data = l;
    l->follower = etcd_follow(e, ETCD_CONFIG, &ops, l);
    if (l->follower)
        return l;
    hg_free(l);
    return NULL;
}

void etcd_layer_stop(struct etcd_layer *l) {
    if (!l)
        return;
    ev_timer_stop(loop_of(l), &l->again);
    etcd_unfollow(l->follower);
    l->follower = NULL;
}

void etcd_layer_destroy(struct etcd_layer *l) {
    if (!l)
        return;
    etcd_layer_stop(l);
    etcd_intent_finish(&l->intent);
    etcd_made_finish(&l->made);
    error_list_finish(&l->errors);
    hg_free(l);
}

/* ---- for status ---- */

const char *etcd_layer_state_name(enum etcd_layer_state state) {
    switch (state) {
    case ETCD_LAYER_CONNECTING: return "connecting";
    case ETCD_LAYER_EMPTY: return "empty";
    case ETCD_LAYER_INVALID: return "invalid";
    case ETCD_LAYER_APPLYING: return "applying";
    case ETCD_LAYER_REFUSED: return "refused";
    case ETCD_LAYER_IN_USE: return "in-use";
    }
    return "unknown";
}

void etcd_layer_status(const struct etcd_layer *l, struct etcd_layer_status *ret) {
    *ret = (struct etcd_layer_status){.state = l->state, .version = l->version, .pushed = l->made.pointer,
                                      .failure = l->failure, .errors = &l->errors};
    if (l->follower)
        ret->counters = etcd_follower_counters(l->follower);
}

struct etcd *etcd_layer_etcd(const struct etcd_layer *l) {
    return l->etcd;
}
