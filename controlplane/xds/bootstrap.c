/* The file as a tree, which of the two forms it has, and the places of what is told of it. */
#include "controlplane/xds/bootstrap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/input_file.h"
#include "controlplane/xds/bootstrap_reader.h"

enum { MEMORY_MAX = 64 << 20, PATH_DEPTH_MAX = 64 };

static const uint64_t RESOURCE_TIMEOUT = 15000000;

/* ---- places ---- */

static bool is_key_of(struct str key, struct str name) {
    size_t k = 0, n = 0;
    while (k < key.n && n < name.n) {
        if (name.p[n] == '_' && key.p[k] != '_') { /* lowerCamelCase */
            n++;
            if (n == name.n || key.p[k] != (name.p[n] >= 'a' && name.p[n] <= 'z' ? name.p[n] - 'a' + 'A' : name.p[n]))
                return false;
        } else if (key.p[k] != name.p[n])
            return false;
        k++, n++;
    }
    return k == key.n && n == name.n;
}

static const struct tree_node *child_of_key(const struct tree_node *node, struct str name) {
    for (const struct tree_item *item = node->first; item; item = item->next)
        if (is_key_of(item->key, name))
            return item->node;
    return NULL;
}

/* A lone message may stand for a list of one. */
static const struct tree_node *child_of_index(const struct tree_node *node, uint64_t index) {
    const struct tree_item *item = node->type == TREE_LIST ? node->first : NULL;
    while (item && index-- > 0)
        item = item->next;
    return item ? item->node : node;
}

/* Takes `name`, `.name`, `[3]` or `["key"]` off the path. */
static const struct tree_node *take_step(const struct tree_node *node, struct str *path) {
    struct str left = *path, step;
    uint64_t index;
    if (str_starts(left, STR("["))) {
        left = (struct str){left.p + 1, left.n - 1};
        step = str_cut(&left, ']');
        *path = left;
        if (str_to_uint64(step, &index) == 0)
            return child_of_index(node, index);
        return node->type == TREE_MAP && step.n > 2 ? child_of_key(node, (struct str){step.p + 1, step.n - 2}) : NULL;
    }
    if (str_starts(left, STR(".")))
        left = (struct str){left.p + 1, left.n - 1};
    size_t n = 0;
    while (n < left.n && left.p[n] != '.' && left.p[n] != '[')
        n++;
    *path = (struct str){left.p + n, left.n - n};
    return node->type == TREE_MAP ? child_of_key(node, (struct str){left.p, n}) : NULL;
}

/* Where the path leads, or as far as it leads. */
static const struct tree_place *place_of(const struct bootstrap_reader *r, struct str path) {
    const struct tree_node *node = r->tree, *next = node;
    for (int i = 0; i < PATH_DEPTH_MAX && path.n > 0 && next; i++) {
        next = take_step(node, &path);
        node = next ? next : node;
    }
    return &node->place;
}

/* ---- telling ---- */

static void add_path(const struct xds_at *at, struct strbuf *out) {
    if (!at)
        return;
    add_path(at->up, out);
    strbuf_printf(out, "%s%s", out->n ? "." : "", at->field);
    if (at->item)
        strbuf_printf(out, "[%zu]", at->item - 1);
    if (at->key)
        strbuf_printf(out, "[\"%s\"]", at->key);
}

static void tell(struct bootstrap_reader *r, struct error_list *list, const struct strbuf *path, enum error_code code,
                 const char *message) {
    const struct tree_place *place = place_of(r, strbuf_str(path));
    error_list_add(list, &(struct error){.code = code, .message = message, .file = place->file, .line = place->line,
                                         .column = place->column, .path = path->n && !path->failed ? path->p : NULL});
}

int bootstrap_fault(struct bootstrap_reader *r, const struct xds_at *at, enum error_code code, const char *format, ...) {
    struct strbuf path = {0};
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    add_path(at, &path);
    tell(r, r->errors, &path, code, message);
    strbuf_finish(&path);
    r->faults++;
    return -1;
}

int bootstrap_no_memory(struct bootstrap_reader *r) {
    error_addf(r->errors, ERROR_MEMORY, "no memory for the bootstrap file, or it is too large");
    r->faults++;
    return -1;
}

void bootstrap_warn(struct bootstrap_reader *r, const struct xds_at *at, const char *text) {
    struct strbuf path = {0};
    add_path(at, &path);
    tell(r, r->warnings, &path, ERROR_UNSUPPORTED, text);
    strbuf_finish(&path);
}

/* ---- what nothing reads ---- */

struct walk {
    struct bootstrap_reader *reader;
    const struct xds_at     *at;
};

static bool on_finding(void *context, const struct xds_finding *finding) {
    const struct walk *w = context;
    struct strbuf path = {0}, text = {0};
    bool is_ignored = finding->kind == XDS_IGNORED;
    add_path(w->at, &path);
    strbuf_printf(&path, "%s%s", path.n && finding->path[0] ? "." : "", finding->path);
    xds_finding_describe(finding, &text);
    w->reader->faults += !is_ignored;
    tell(w->reader, is_ignored ? w->reader->warnings : w->reader->errors, &path, ERROR_UNSUPPORTED,
         text.failed ? "is not supported" : text.p);
    strbuf_finish(&path);
    strbuf_finish(&text);
    return true;
}

void bootstrap_walk(struct bootstrap_reader *r, const struct xds_at *at, const struct xds_fields *table,
                    const ProtobufCMessage *m) {
    struct walk walk = {r, at};
    if (xds_fields_walk(table, m, &(const struct xds_findings){on_finding, &walk}) < 0)
        bootstrap_no_memory(r);
}

/* ---- making ---- */

void *bootstrap_alloc(struct bootstrap_reader *r, size_t count, size_t size) {
    void *made = arena_calloc(&r->made->arena, count ? count : 1, size);
    if (!made)
        bootstrap_no_memory(r);
    return made;
}

struct xds_server *bootstrap_add_server(struct bootstrap_reader *r, const struct xds_at *at) {
    if (r->made->server_count == XDS_SERVERS_MAX) {
        bootstrap_fault(r, at, ERROR_RANGE, "there are more than %d management servers", XDS_SERVERS_MAX);
        return NULL;
    }
    return &r->servers[r->made->server_count++];
}

/* ---- the whole ---- */

static void set_defaults(struct xds_bootstrap *b) {
    b->resource_timeout = RESOURCE_TIMEOUT;
    b->request_tokens = 100;
    b->requests_per_second = 10;
    b->is_aggregated = true;
    b->form = XDS_STATE_OF_THE_WORLD;
}

/* Servers are told who asks, and by which program. */
static void complete_node(struct bootstrap_reader *r) {
    Envoy__Config__Core__V3__Node *node = r->made->node ? arena_memdup(&r->made->arena, r->made->node, sizeof *node) : NULL;
    if (!r->made->node || !*r->made->node->id) {
        bootstrap_fault(r, XDS_AT(NULL, "node"), ERROR_MISSING, "needs an id, by which servers know this gateway");
        return;
    }
    if (!node) {
        bootstrap_no_memory(r);
        return;
    }
    if (!*node->user_agent_name && node->user_agent_version_type_case == 0) {
        node->user_agent_name = (char *)(uintptr_t)"headgate";
        node->user_agent_version = (char *)(uintptr_t)HG_VERSION;
        node->user_agent_version_type_case = ENVOY__CONFIG__CORE__V3__NODE__USER_AGENT_VERSION_TYPE_USER_AGENT_VERSION;
    }
    r->made->node = node;
}

/* A server whose machine is gone says nothing, which is what one says that has no news, too. */
static void watch_connections(struct bootstrap_reader *r) {
    for (size_t i = 0; i < r->made->server_count; i++)
        if (r->servers[i].channel.keepalive_us == 0)
            r->servers[i].channel.keepalive_us = XDS_KEEPALIVE_US;
}

static void read_form(struct bootstrap_reader *r) {
    bool is_grpc = r->tree->type == TREE_MAP && child_of_key(r->tree, STR("xds_servers"));
    bool is_envoy = r->tree->type == TREE_MAP && child_of_key(r->tree, STR("dynamic_resources"));
    r->servers = bootstrap_alloc(r, XDS_SERVERS_MAX, sizeof *r->servers);
    r->made->servers = r->servers;
    if (!r->servers)
        return;
    if (is_grpc == is_envoy)
        bootstrap_fault(r, NULL, ERROR_SYNTAX, "a bootstrap file has either \"xds_servers\" (gRPC's form) or "
                        "\"dynamic_resources\" (Envoy's)");
    else if (is_grpc)
        bootstrap_read_grpc(r);
    else
        bootstrap_read_envoy(r);
    if (r->faults == 0)
        complete_node(r);
    if (r->faults == 0 && r->made->server_count == 0)
        bootstrap_fault(r, NULL, ERROR_MISSING, "there is no management server");
    watch_connections(r);
}

int xds_bootstrap_parse(const char *file, struct str text, struct xds_bootstrap *ret, struct error_list *errors,
                        struct error_list *warnings) {
    struct xds_bootstrap made = {0};
    struct bootstrap_reader r = {.made = &made, .errors = errors, .warnings = warnings};
    struct tree_budget budget = {TREE_NODES_MAX, TREE_EXPANSION_MAX};
    size_t before = errors->count + errors->dropped;
    arena_init(&made.arena, NULL, 0, MEMORY_MAX);
    set_defaults(&made);
    r.tree = tree_read(&made.arena, file, text, &tree_verbatim, &budget, errors);
    if (r.tree && errors->count + errors->dropped == before)
        read_form(&r);
    if (r.tree && errors->count + errors->dropped == before) {
        *ret = made;
        return 0;
    }
    arena_finish(&made.arena);
    return -1;
}

static int read_whole(const char *file, char *text, size_t *ret_size, struct error_list *errors) {
    FILE *in = input_file_open(file);
    size_t size = in ? fread(text, 1, XDS_BOOTSTRAP_MAX + 1, in) : 0;
    const char *reason = !in                        ? input_file_reason(errno)
                         : ferror(in)               ? "a read error"
                         : size > XDS_BOOTSTRAP_MAX ? "too large"
                                                    : NULL;
    if (in)
        fclose(in);
    if (reason)
        error_addf(errors, ERROR_IO, "cannot read %s: %s", file, reason);
    *ret_size = size;
    return reason ? -1 : 0;
}

int xds_bootstrap_read(const char *file, struct xds_bootstrap *ret, struct error_list *errors, struct error_list *warnings) {
    char *text = hg_malloc(XDS_BOOTSTRAP_MAX + 1);
    size_t size;
    if (!text) {
        error_addf(errors, ERROR_MEMORY, "no memory to read %s", file);
        return -1;
    }
    int status = read_whole(file, text, &size, errors);
    if (status == 0)
        status = xds_bootstrap_parse(file, (struct str){text, size}, ret, errors, warnings);
    hg_free(text);
    return status;
}

void xds_bootstrap_finish(struct xds_bootstrap *b) {
    arena_finish(&b->arena);
}
