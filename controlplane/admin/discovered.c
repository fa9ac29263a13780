/* What is wrong with the resources of a management server, for status. */
#include "common/plural.h"
#include "controlplane/admin/internal.h"
#include "controlplane/xds/csds.h"

enum { TOLD_MAX = 100 };

struct telling {
    struct admin_call     *call;
    struct problem_list   *problems;
    const struct xds_world *world;
    size_t                 count;
};

/* "Cluster" of "type.googleapis.com/envoy.config.cluster.v3.Cluster". */
static const char *short_type(enum xds_role role) {
    const char *url = xds_world_type_url(role);
    return strrchr(url, '.') + 1;
}

static const char *what_happened(enum xds_state state) {
    switch (state) {
    case XDS_NACKED:         return "is refused: ";
    case XDS_DOES_NOT_EXIST: return "does not exist: ";
    case XDS_RECEIVED_ERROR: return "cannot be had: ";
    case XDS_TIMEOUT:        return "did not come: ";
    default:                 return NULL;
    }
}

static void tell(struct telling *t, enum xds_role role, const struct xds_resource *r, const char *what, struct str why) {
    if (t->count++ >= TOLD_MAX)
        return;
    const char *message = arena_printf(&t->call->arena, "the %s \"%.*s\" of the management server %s%.*s", short_type(role),
                                       STR_FMT(r->name), what, STR_FMT(why));
    if (message)
        reply_add_problem(&t->call->arena, t->problems, ERROR_STATE, NULL, NULL, message);
}

static void look_at(struct telling *t, enum xds_role role, const struct xds_resource *r) {
    const char *what = what_happened(r->state), *waits_for = xds_world_waits_for(t->world, role, r->name);
    if (what)
        tell(t, role, r, what, r->error);
    else if (waits_for)
        tell(t, role, r, "is held and waits for ", str_of(waits_for));
}

static void look_at_role(struct telling *t, enum xds_role role) {
    const struct xds_protocol *p = xds_world_protocol(t->world);
    const struct xds_resource *r = NULL;
    while ((r = xds_protocol_next_resource(p, xds_world_type(t->world, role), r)))
        look_at(t, role, r);
}

void admin_add_discovered(struct admin_call *call, struct problem_list *problems) {
    const struct xds_csds *csds = call->admin->csds;
    struct telling t = {.call = call, .problems = problems, .world = csds ? csds->world : NULL};
    if (!t.world || !xds_world_protocol(t.world))
        return;
    for (int role = 0; role < XDS_ROLES; role++)
        look_at_role(&t, (enum xds_role)role);
    if (t.count <= TOLD_MAX)
        return;
    const char *more = arena_printf(&call->arena, "and %zu more resource%s of the management server",
                                    t.count - TOLD_MAX, plural(t.count - TOLD_MAX));
    if (more)
        reply_add_problem(&call->arena, problems, ERROR_STATE, NULL, NULL, more);
}
