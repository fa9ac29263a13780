#include "controlplane/cli/etcd.h"

#include "controlplane/etcd/mirror.h"

int etcd_session_open(struct etcd_session *s, struct cli *cli, const struct options *options, const char *address) {
    const struct etcd_options o = {.address = address, .authority = options_get(options, "etcd-ca"),
                                   .certificate = options_get(options, "etcd-cert"), .key = options_get(options, "etcd-key"),
                                   .user = options_get(options, "etcd-user"),
                                   .password_file = options_get(options, "etcd-password-file")};
    struct error_list errors = {0};
    *s = (struct etcd_session){.cli = cli, .ev = ev_loop_new(EVFLAG_AUTO)};
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
    bool is_done;
    int exit_code;
    struct cli *cli;
    void (*take)(void *context, const ProtobufCMessage *reply);
    void *context;
};

static void on_done(void *context, const ProtobufCMessage *reply, grpc_status_code status, struct str text) {
    struct asked *a = context;
    struct strbuf reason = {0};
    a->is_done = true;
    if (reply) {
        a->take(a->context, reply);
    } else {
        etcd_format_failure(status, text, &reason);
        cli_error(a->cli, "etcd: %s", reason.failed ? "out of memory" : reason.p);
        a->exit_code = status == GRPC_STATUS_UNAVAILABLE || status == GRPC_STATUS_DEADLINE_EXCEEDED ? EXIT_UNREACHABLE
                                                                                                    : EXIT_REFUSED;
    }
    strbuf_finish(&reason);
    ev_break(a->ev, EVBREAK_ONE);
}

int etcd_session_call(struct etcd_session *s, enum etcd_method method, const ProtobufCMessage *request,
                      void (*take)(void *context, const ProtobufCMessage *reply), void *context) {
    struct asked a = {.ev = s->ev, .cli = s->cli, .exit_code = EXIT_DONE, .take = take, .context = context};
    struct etcd_call call = {.done = on_done, .context = &a};
    if (etcd_call_begin(s->etcd, &call, method, request) < 0) {
        cli_error(s->cli, "no memory to ask etcd");
        return EXIT_REFUSED;
    }
    while (!a.is_done)
        ev_run(s->ev, EVRUN_ONCE);
    return a.exit_code;
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

static int fetch(struct etcd_session *s, struct fetching *f) {
    int exit_code = EXIT_DONE;
    while (exit_code == EXIT_DONE && f->mirror.step == ETCD_LIST) {
        Etcdserverpb__RangeRequest request;
        etcd_mirror_range(&f->mirror, &request);
        exit_code = etcd_session_call(s, ETCD_RANGE, &request.base, take_range, f);
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
