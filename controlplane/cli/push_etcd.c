/* push --to etcd://..., rollback --to: checked here as a control plane would, written in one transaction, or so that one
 * makes it count. */
#include "controlplane/cli/push_etcd.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/input_file.h"
#include "controlplane/cli/etcd.h"
#include "controlplane/cli/reply.h"
#include "controlplane/config/config.h"
#include "controlplane/engine/reply.h"
#include "controlplane/etcd/write.h"

struct push {
    struct cli             *cli;
    const struct options   *options;
    struct etcd_session     session;
    struct config_resources set;        /* of the file */
    struct error_list       errors, warnings;
    struct etcd_intent      there;      /* all that etcd has */
    struct etcd_made        before;     /* what of it counts */
    struct etcd_values      values;
    struct etcd_pointer     after;
    char                    message[64]; /* unless one is given */
    struct etcd_write       write;
    bool                    is_refused; /* a transaction: somebody else was faster */
    struct etcd_pointer     other;      /* then: what they made of `current` */
    struct arena            arena;
    Headgate__PushReply     reply;
};

/* ---- the file ---- */

/* A node's settings are its own: a file for etcd has none but those that it would have anyway. */
static int check_settings(struct push *p) {
    struct config_sources nothing = {0};
    struct config_resources empty = {0};
    struct error_list ignored = {0};
    const Headgate__Kind kind = HEADGATE__KIND__KIND_SETTINGS;
    int status = config_sources_add(&nothing, STR("nothing"), STR("{}"), &ignored);
    if (status == 0)
        status = config_compile(&nothing, NULL, &empty, &ignored, &ignored);
    const struct config_resource *ours = config_resources_find(&p->set, kind, STR("default"));
    const struct config_resource *plain = status == 0 ? config_resources_find(&empty, kind, STR("default")) : NULL;
    bool is_plain = ours && plain && resource_id_equal(&ours->id, &plain->id);
    if (!is_plain)
        error_set_resource(&p->errors, error_addf(&p->errors, ERROR_UNSUPPORTED, "settings are each node's own: push them "
                           "there, and listeners, route tables and clusters to etcd"), "settings/default", NULL);
    config_resources_finish(&empty);
    config_sources_finish(&nothing);
    error_list_finish(&ignored);
    return is_plain ? 0 : -1;
}

/* Files of certificates are looked at where they are used: by each node. */
static int compile(struct push *p) {
    const struct config_options options = {.variable = config_variable_from_environment};
    struct config_sources sources = {0};
    int loaded = config_load(input_file_of_argument(p->options->arguments[0]), &sources, &p->errors);
    int compiled = config_compile(&sources, &options, &p->set, &p->errors, &p->warnings);
    config_sources_finish(&sources);
    if (loaded < 0 || compiled < 0 || check_settings(p) < 0 || etcd_values_make(&p->set, &p->values, &p->errors) < 0)
        return -1;
    return 0;
}

/* ---- what is there ---- */

/* What cannot be read is told, and replaced: there is no other way to mend it. */
static int look(struct push *p) {
    int exit_code = etcd_session_fetch(&p->session, &p->there);
    struct error_list errors = {0};
    if (exit_code != EXIT_DONE)
        return exit_code;
    bool is_there = etcd_intent_has_current(&p->there, &p->write.modified);
    if (etcd_intent_make(&p->there, &p->before, &errors) < 0 && is_there)
        for (size_t i = 0; i < errors.count; i++)
            error_list_add(&p->warnings, &errors.items[i]);
    error_list_finish(&errors);
    return EXIT_DONE;
}

static int check_version(struct push *p) {
    const char *text = options_get(p->options, "if-version");
    uint64_t version = 0;
    if (!text)
        return EXIT_DONE;
    if (cli_parse_version(p->cli, text, &version) < 0)
        return EXIT_WRONG_USAGE;
    if (version == p->before.pointer.version)
        return EXIT_DONE;
    error_addf(&p->errors, ERROR_STATE, "the version in etcd is %" PRIu64 ", not %" PRIu64, p->before.pointer.version,
               version);
    return EXIT_REFUSED;
}

struct counts {
    size_t added, changed, removed;
};

static struct counts compare(const struct push *p) {
    struct counts c = {0};
    size_t total = 0;
    for (size_t i = 0; i < p->set.count; i++) {
        const struct config_resource *r = &p->set.items[i];
        if (r->kind == HEADGATE__KIND__KIND_SETTINGS)
            continue;
        const struct config_resource *old = config_resources_find(&p->before.set, r->kind, str_of(r->name));
        bool is_same = old && resource_id_equal(&old->id, &r->id);
        total++;
        c.added += !old;
        c.changed += old && !is_same;
    }
    c.removed = p->before.set.count + c.added - total;
    return c;
}

/* ---- writing ---- */

static void take_txn(void *context, const ProtobufCMessage *reply) {
    struct push *p = context;
    const Etcdserverpb__TxnResponse *txn = (const Etcdserverpb__TxnResponse *)reply;
    const Etcdserverpb__ResponseOp *op = txn->n_responses ? txn->responses[0] : NULL;
    const Etcdserverpb__RangeResponse *range =
        op && op->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE ? op->response_range : NULL;
    struct error_list ignored = {0};
    p->is_refused = !txn->succeeded;
    if (p->is_refused && range && range->n_kvs) {
        const ProtobufCBinaryData *value = &range->kvs[0]->value;
        etcd_pointer_parse((struct str){(const char *)value->data, value->len}, &p->arena, &p->other, &ignored);
    }
    error_list_finish(&ignored);
}

/* What was written for nothing goes; when that fails the next push takes it away. */
static void undo(struct push *p) {
    struct arena arena = {0};
    Etcdserverpb__TxnRequest *request = etcd_write_undo(&p->write, &arena);
    if (request)
        etcd_session_call(&p->session, ETCD_TXN, &request->base, take_txn, p);
    arena_finish(&arena);
}

static int judge_refusal(struct push *p) {
    if (etcd_write_has_counted(&p->write, &p->other))
        return EXIT_DONE;
    if (p->other.version)
        error_addf(&p->errors, ERROR_CONFLICT, "%s pushed version %" PRIu64 " to etcd meanwhile%s%s; nothing was changed",
                   p->other.author[0] ? p->other.author : "somebody", p->other.version, p->other.message[0] ? ": " : "",
                   p->other.message);
    else
        error_addf(&p->errors, ERROR_CONFLICT, "somebody changed what etcd has meanwhile; nothing was changed by this push");
    undo(p);
    return EXIT_REFUSED;
}

static int write_all(struct push *p) {
    struct arena arena = {0};
    int exit_code = EXIT_DONE;
    while (exit_code == EXIT_DONE && !p->is_refused && !p->write.is_over) {
        Etcdserverpb__TxnRequest *request = etcd_write_next(&p->write, &arena);
        if (!request) {
            error_addf(&p->errors, ERROR_MEMORY, "out of memory");
            exit_code = EXIT_REFUSED;
        } else {
            exit_code = etcd_session_call(&p->session, ETCD_TXN, &request->base, take_txn, p);
        }
        arena_finish(&arena);
        arena = (struct arena){0};
    }
    return exit_code == EXIT_DONE && p->is_refused ? judge_refusal(p) : exit_code;
}

static int write_new(struct push *p) {
    const char *message = options_get(p->options, "message");
    const struct etcd_pointer *before = &p->before.pointer;
    p->after = (struct etcd_pointer){.version = before->version + 1, .values = p->values.count,
                                     .time_us = clock_realtime_us(), .author = cli_author(),
                                     .message = message ? message : p->message,
                                     .previous = {.version = before->version, .values = before->values}};
    memcpy(p->after.previous.name, before->generation, sizeof before->generation);
    etcd_generation_name(p->after.version, arc4random(), p->after.generation);
    p->write.prefix = etcd_prefix(p->session.etcd);
    p->write.values = &p->values;
    p->write.before = before;
    p->write.after = &p->after;
    return write_all(p);
}

/* ---- the whole ---- */

static void print(struct push *p, int exit_code, const struct counts *c) {
    struct problem_list problems = {0};
    reply_add_problems(&p->arena, &problems, &p->errors, false);
    reply_add_problems(&p->arena, &problems, &p->warnings, true);
    p->reply.n_problems = problems.count;
    p->reply.problems = problems.items;
    if (p->cli->is_json) {
        reply_print_json(&p->reply);
        return;
    }
    cli_print_problems(p->cli, problems.items, problems.count);
    if (exit_code != EXIT_DONE)
        cli_print(p->cli, STYLE_BAD, "refused");
    else if (p->reply.outcome == HEADGATE__PUSH_REPLY__OUTCOME__UNCHANGED)
        cli_print(p->cli, STYLE_PLAIN, "nothing differs from version %" PRIu64 " in etcd", p->reply.version);
    else
        cli_print(p->cli, STYLE_GOOD, "version %" PRIu64 " %s", p->reply.version,
                  p->reply.outcome == HEADGATE__PUSH_REPLY__OUTCOME__CHECKED ? "would be in etcd" : "is in etcd");
    cli_print(p->cli, STYLE_PLAIN, exit_code == EXIT_DONE ? " (resources: %zu added, %zu changed, %zu removed)\n" : "\n",
              c->added, c->changed, c->removed);
}

static int finish(struct push *p, struct counts *c) {
    bool is_dry = options_has(p->options, "dry-run"), is_same;
    *c = compare(p);
    is_same = p->before.pointer.version && c->added + c->changed + c->removed == 0;
    p->reply.version = p->before.pointer.version + !is_same;
    p->reply.outcome = is_same  ? HEADGATE__PUSH_REPLY__OUTCOME__UNCHANGED
                       : is_dry ? HEADGATE__PUSH_REPLY__OUTCOME__CHECKED
                                : HEADGATE__PUSH_REPLY__OUTCOME__STORED;
    return is_same || is_dry ? EXIT_DONE : write_new(p);
}

static int open_and_look(struct push *p) {
    int exit_code = etcd_session_open(&p->session, p->cli, p->options, options_get(p->options, "to"));
    return exit_code == EXIT_DONE ? look(p) : exit_code;
}

static int prepare_file(struct push *p) {
    return compile(p) < 0 ? EXIT_REFUSED : open_and_look(p);
}

/* What counted before, as a new version. */
static int prepare_rollback(struct push *p) {
    struct etcd_made made = {0};
    uint64_t version = 0;
    if (p->options->argument_count && cli_parse_version(p->cli, p->options->arguments[0], &version) < 0)
        return EXIT_WRONG_USAGE;
    int exit_code = open_and_look(p);
    if (exit_code != EXIT_DONE)
        return exit_code;
    int status = etcd_intent_make_previous(&p->there, &made, &p->errors);
    if (status == 0 && version && version != made.pointer.version) {
        error_addf(&p->errors, ERROR_REFERENCE, "of the versions before the present one etcd has %" PRIu64 " alone, not %"
                   PRIu64, made.pointer.version, version);
        status = -1;
    }
    snprintf(p->message, sizeof p->message, "rollback to %" PRIu64, made.pointer.version);
    p->set = made.set;
    made.set = (struct config_resources){0};
    etcd_made_finish(&made);
    return status == 0 && etcd_values_make(&p->set, &p->values, &p->errors) == 0 ? EXIT_DONE : EXIT_REFUSED;
}

static int push(struct push *p, int (*prepare)(struct push *p)) {
    struct counts c = {0};
    int exit_code = prepare(p);
    if (exit_code == EXIT_DONE)
        exit_code = check_version(p);
    if (exit_code == EXIT_DONE)
        exit_code = finish(p, &c);
    if (exit_code == EXIT_WRONG_USAGE || exit_code == EXIT_UNREACHABLE)
        return exit_code;
    p->reply.has_outcome = p->reply.has_version = true;
    if (exit_code != EXIT_DONE) {
        p->reply.outcome = HEADGATE__PUSH_REPLY__OUTCOME__REFUSED;
        p->reply.version = p->other.version ? p->other.version : p->before.pointer.version;
    }
    print(p, exit_code, &c);
    return exit_code;
}

static int run(struct cli *cli, const struct options *options, int (*prepare)(struct push *p)) {
    struct push p = {.cli = cli, .options = options, .other = {.author = "", .message = ""},
                     .reply = HEADGATE__PUSH_REPLY__INIT};
    if (!etcd_address_is_one(options_get(options, "to"))) {
        cli_error(cli, "--to wants an address such as etcd://host:2379/prefix, not %s", options_get(options, "to"));
        return EXIT_WRONG_USAGE;
    }
    int exit_code = push(&p, prepare);
    etcd_session_close(&p.session);
    etcd_intent_finish(&p.there);
    etcd_made_finish(&p.before);
    etcd_values_finish(&p.values);
    config_resources_finish(&p.set);
    error_list_finish(&p.errors);
    error_list_finish(&p.warnings);
    arena_finish(&p.arena);
    return exit_code;
}

int push_to_etcd(struct cli *cli, const struct options *options) {
    if (options_has(options, "embed")) {
        cli_error(cli, "--embed does not go with --to: keys are not put into etcd, each node reads its own files");
        return EXIT_WRONG_USAGE;
    }
    return run(cli, options, prepare_file);
}

int rollback_in_etcd(struct cli *cli, const struct options *options) {
    return run(cli, options, prepare_rollback);
}
