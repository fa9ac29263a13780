#include "controlplane/cli/etcd.h"

#include "common/log.h"
#include "controlplane/etcd/mirror.h"

int etcd_session_open(struct etcd_session *s, struct cli *cli, const struct options *options, const char *address) {
    const struct etcd_options o = {.address = address, .authority = options_get(options, "etcd-ca"),
                                   .certificate = options_get(options, "etcd-cert"), .key = options_get(options, "etcd-key"),
                                   .user = options_get(options, "etcd-user"),
                                   .password_file = options_get(options, "etcd-password-file")};
    struct error_list errors = {0};
    *s = (struct etcd_session){.cli = cli, .ev = ev_loop_new(EVFLAG_AUTO)};
    log_set_level(LOG_LEVEL_ERROR); /* a member that fails is told once, and only where no other answers */
    if (!s->ev || rpc_loop_init(&s->rpc, s->ev) < 0) {
        cli_error(cli, "cannot start a thread");
        return EXIT_REFUSED;
    }
    s->has_rpc = true;
    s->etcd = etcd_create(&s->rpc, &o, &errors);
    int exit_code = s->etcd ? EXIT_DONE : cli_fail(cli, &errors, EXIT_WRONG_USAGE);
    error_list_finish(&errors);
    return exit_code;
}

void etcd_session_close(struct etcd_session *s) {
    etcd_destroy(s->etcd);
    if (s->has_rpc)
        rpc_loop_finish(&s->rpc);
    if (s->ev)
        ev_loop_destroy(s->ev);
}

/* ---- calls ---- */

struct asked {
    struct ev_loop *ev;
    bool is_done, has_reply;
    grpc_status_code status;
    struct strbuf failure;              /* without a reply */
    void (*take)(void *context, const ProtobufCMessage *reply);
    void *context;
};

static void on_done(void *context, const ProtobufCMessage *reply, grpc_status_code status, struct str text) {
    struct asked *a = context;
    a->is_done = true;
    a->has_reply = reply != NULL;
    a->status = status;
    if (reply)
        a->take(a->context, reply);
    else
        etcd_format_failure(status, text, &a->failure);
    ev_break(a->ev, EVBREAK_ONE);
}

static void ask(struct etcd_session *s, enum etcd_method method, const ProtobufCMessage *request, struct asked *a) {
    struct etcd_call call = {.done = on_done, .context = a};
    struct error_list errors = {0};
    a->ev = s->ev;
    if (etcd_call_begin(s->etcd, &call, method, request, &errors) < 0) {
        strbuf_puts(&a->failure, errors.count ? errors.items[0].message : "out of memory");
        a->status = GRPC_STATUS_INTERNAL;
        a->is_done = true;
    }
    error_list_finish(&errors);
    while (!a->is_done)
        ev_run(s->ev, EVRUN_ONCE);
}

/* The exit code, after what there is to say. */
static int end(const struct etcd_session *s, struct asked *a) {
    bool is_unreachable = a->status == GRPC_STATUS_UNAVAILABLE || a->status == GRPC_STATUS_DEADLINE_EXCEEDED;
    if (!a->has_reply)
        cli_error(s->cli, "etcd: %s", a->failure.failed ? "out of memory" : a->failure.p);
    strbuf_finish(&a->failure);
    return a->has_reply ? EXIT_DONE : is_unreachable ? EXIT_UNREACHABLE : EXIT_REFUSED;
}

int etcd_session_call(struct etcd_session *s, enum etcd_method method, const ProtobufCMessage *request,
                      void (*take)(void *context, const ProtobufCMessage *reply), void *context) {
    struct asked a = {.take = take, .context = context};
    ask(s, method, request, &a);
    return end(s, &a);
}

/* ---- all that there is ---- */

struct fetching {
    struct etcd_mirror  mirror;
    struct etcd_intent *intent;
    const char         *wrong;
};

static void on_list(void *context) {
    etcd_intent_list(((struct fetching *)context)->intent);
}

static bool on_set(void *context, struct str key, struct str value, int64_t modified) {
    return etcd_intent_set(((struct fetching *)context)->intent, key, value, modified);
}

static void on_settled(void *context) {
    etcd_intent_settled(((struct fetching *)context)->intent);
}

static const struct etcd_mirror_ops ops = {.list = on_list, .set = on_set, .settled = on_settled};

static void take_range(void *context, const ProtobufCMessage *reply) {
    struct fetching *f = context;
    f->wrong = etcd_mirror_take_range(&f->mirror, (const Etcdserverpb__RangeResponse *)reply);
}

/* In smaller pages, or from the beginning, where what was there meanwhile has been compacted. */
static bool may_go_on(struct fetching *f, const struct asked *a) {
    bool is_too_big = a->status == GRPC_STATUS_RESOURCE_EXHAUSTED && f->mirror.page > 1;
    bool is_compacted = a->status == GRPC_STATUS_OUT_OF_RANGE && f->mirror.revision;
    if (!a->has_reply)
        etcd_mirror_range_failed(&f->mirror, is_compacted, is_too_big);
    return !a->has_reply && (is_too_big || is_compacted);
}

static int fetch(struct etcd_session *s, struct fetching *f) {
    int exit_code = EXIT_DONE;
    while (exit_code == EXIT_DONE && f->mirror.step == ETCD_LIST) {
        Etcdserverpb__RangeRequest request;
        struct asked a = {.take = take_range, .context = f};
        etcd_mirror_range(&f->mirror, &request);
        ask(s, ETCD_RANGE, &request.base, &a);
        if (may_go_on(f, &a)) {
            strbuf_finish(&a.failure);
            continue;
        }
        exit_code = end(s, &a);
        if (exit_code == EXIT_DONE && f->wrong) {
            cli_error(s->cli, "%s", f->wrong);
            exit_code = EXIT_REFUSED;
        }
    }
    return exit_code;
}

int etcd_session_fetch(struct etcd_session *s, struct etcd_intent *ret) {
    struct fetching f = {.intent = ret};
    struct strbuf prefix = {0};
    int exit_code = EXIT_REFUSED;
    strbuf_printf(&prefix, "%s/" ETCD_CONFIG, etcd_prefix(s->etcd));
    if (prefix.failed || etcd_mirror_init(&f.mirror, prefix.p, &ops, &f) < 0)
        cli_error(s->cli, "out of memory");
    else
        exit_code = fetch(s, &f);
    etcd_mirror_finish(&f.mirror);
    strbuf_finish(&prefix);
    return exit_code;
}
