/* Log, Show, Diff: what there is and was. */
#include "controlplane/admin/internal.h"

enum { LOG_MAX = 10000 };

/* ---- log ---- */

static bool serves(const struct data_plane *dp, const struct engine *e, uint64_t version) {
    const struct store *store = engine_store((struct engine *)e);
    return dp->held && dp->held->version == version &&
           memcmp(dp->held->lineage, store_lineage(store), LINEAGE_SIZE) == 0;
}

static void add_nodes(struct admin_call *call, Headgate__Version *v) {
    struct engine *e = call->admin->engine;
    size_t count = 0;
    for (const struct data_plane *dp = channel_first(engine_channel(e)); dp; dp = channel_after(dp))
        count += serves(dp, e, v->version);
    v->nodes = count ? arena_calloc(&call->arena, count, sizeof(char *)) : NULL;
    for (const struct data_plane *dp = channel_first(engine_channel(e)); dp && v->nodes;
         dp = channel_after(dp))
        if (serves(dp, e, v->version))
            v->nodes[v->n_nodes++] = dp->node;
}

static Headgate__Version *version_message(struct admin_call *call, const struct store_version *from) {
    Headgate__Version *v = arena_alloc(&call->arena, sizeof *v);
    if (!v)
        return NULL;
    const struct store_manifest *current = store_current(engine_store(call->admin->engine));
    headgate__version__init(v);
    v->has_version = v->has_time_us = v->has_hash = v->has_intent_hash = v->has_current = v->has_resources =
        true;
    v->has_parent = from->parent != 0;
    v->has_restores = from->restores != 0;
    v->version = from->number;
    v->parent = from->parent;
    v->restores = from->restores;
    v->time_us = from->time_us;
    v->resources = (uint32_t)from->resources;
    v->author = (char *)from->author;
    v->message = (char *)from->message;
    v->hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)from->hash.bytes};
    v->intent_hash = (ProtobufCBinaryData){RESOURCE_ID_SIZE, (uint8_t *)from->intent_hash.bytes};
    v->current = current && current->version.number == from->number;
    add_nodes(call, v);
    return v;
}

void admin_log(struct admin_call *call, const ProtobufCMessage *request) {
    const Headgate__LogRequest *m = (const Headgate__LogRequest *)request;
    Headgate__LogReply reply = HEADGATE__LOG_REPLY__INIT;
    struct store_log log = {0};
    struct error_list errors = {0};
    struct problem_list problems = {0};
    store_list(engine_store(call->admin->engine), 0, m->limit < LOG_MAX ? m->limit : LOG_MAX, &log, &errors);
    reply.versions = arena_calloc(&call->arena, log.count + 1, sizeof(Headgate__Version *));
    for (size_t i = 0; i < log.count && reply.versions; i++) {
        reply.versions[reply.n_versions] = version_message(call, &log.items[i]);
        reply.n_versions += reply.versions[reply.n_versions] != NULL;
    }
    reply_add_problems(&call->arena, &problems, &errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    error_list_finish(&errors);
    admin_reply(call, &reply.base);
    store_log_finish(&log);
}

/* ---- show ---- */

static int show(struct engine *e, const Headgate__ShowRequest *m, struct strbuf *text,
                struct error_list *errors) {
    const struct config_render_options options = {.is_json = m->json, .is_effective = m->effective};
    struct engine_view view = {0};
    if (m->name && m->kind == HEADGATE__KIND__KIND_SECRET)
        return admin_describe_secret(e, m->name, text, errors);
    if (engine_view(e, m->version, &view, errors) < 0)
        return -1;
    if (m->pushed)
        engine_view_keep_pushed(&view);
    int status = m->name ? config_render_one(&view.set, m->kind, str_of(m->name), &options, text, errors)
                         : config_render(&view.set, &options, text, errors);
    if (view.version == 0)
        error_addf(errors, ERROR_STATE, "there is no version yet");
    engine_view_finish(&view);
    return status;
}

void admin_show(struct admin_call *call, const ProtobufCMessage *request) {
    Headgate__TextReply reply = HEADGATE__TEXT_REPLY__INIT;
    struct strbuf text = {0};
    struct error_list errors = {0};
    struct problem_list problems = {0};
    show(call->admin->engine, (const Headgate__ShowRequest *)request, &text, &errors);
    reply_add_problems(&call->arena, &problems, &errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    reply.text = problems.count ? NULL : text.p;
    error_list_finish(&errors);
    admin_reply(call, &reply.base);
    strbuf_finish(&text);
}

/* ---- diff ---- */

static uint64_t parent_of(const struct admin_call *call, uint64_t version, struct error_list *errors) {
    struct store_manifest *m = store_read_version(engine_store(call->admin->engine), version, errors);
    uint64_t parent = m ? m->version.parent : 0;
    store_manifest_unref(m);
    return parent;
}

/* Version `number`, where 0 is the state before the first version: nothing. */
static int view_exactly(struct admin_call *call, uint64_t number, struct engine_view *ret,
                        struct error_list *errors) {
    if (number == 0)
        return 0;
    return engine_view(call->admin->engine, number, ret, errors);
}

static int views_to_compare(struct admin_call *call, const Headgate__DiffRequest *m, struct engine_view *a,
                            struct engine_view *b, struct error_list *errors, struct error_list *warnings) {
    const struct store_manifest *stored = store_current(engine_store(call->admin->engine));
    uint64_t current = stored ? stored->version.number : 0;
    uint64_t second = m->has_b ? m->b : current;
    if (m->sources) {
        b->is_owned = true;
        if (engine_compile_sources(m->sources, &b->set, errors, warnings) < 0)
            return -1;
        if (view_exactly(call, m->has_a ? m->a : current, a, errors) < 0)
            return -1;
        engine_view_keep_pushed(a); /* all that a push of it would change */
        return 0;
    }
    uint64_t first = m->has_a ? m->a : second ? parent_of(call, second, errors) : 0;
    if (!error_list_is_empty(errors) || view_exactly(call, second, b, errors) < 0)
        return -1;
    return view_exactly(call, first, a, errors);
}

void admin_diff(struct admin_call *call, const ProtobufCMessage *request) {
    Headgate__DiffReply reply = HEADGATE__DIFF_REPLY__INIT;
    struct engine_view a = {0}, b = {0};
    struct error_list errors = {0}, warnings = {0};
    struct problem_list problems = {0};
    if (views_to_compare(call, (const Headgate__DiffRequest *)request, &a, &b, &errors, &warnings) == 0) {
        reply.has_change_count = true;
        reply.change_count = reply_changes(&call->arena, &a.set, &b.set, &reply.changes, &reply.n_changes);
    }
    reply_add_problems(&call->arena, &problems, &errors, false);
    reply_add_problems(&call->arena, &problems, &warnings, true);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    error_list_finish(&errors);
    error_list_finish(&warnings);
    admin_reply(call, &reply.base);
    engine_view_finish(&a);
    engine_view_finish(&b);
}
