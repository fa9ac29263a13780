/* Verify and Gc: looking after the store. */
#include "controlplane/admin/internal.h"

static void on_verified(void *context, const struct upkeep_result *r) {
    struct admin_call *call = context;
    Headgate__VerifyReply reply = HEADGATE__VERIFY_REPLY__INIT;
    struct problem_list problems = {0};
    reply.has_objects = reply.has_versions = reply.has_bytes = r->is_done;
    reply.objects = r->verified.objects;
    reply.versions = r->verified.versions;
    reply.bytes = r->verified.bytes;
    reply_add_problems(&call->arena, &problems, r->errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    admin_reply(call, &reply.base);
}

void admin_verify(struct admin_call *call, const ProtobufCMessage *request) {
    (void)request;
    engine_verify(call->admin->engine, on_verified, call);
}

static void on_collected(void *context, const struct upkeep_result *r) {
    struct admin_call *call = context;
    Headgate__GcReply reply = HEADGATE__GC_REPLY__INIT;
    struct problem_list problems = {0};
    reply.has_versions_dropped = reply.has_objects_dropped = reply.has_bytes_freed = r->is_done;
    reply.versions_dropped = r->dropped.versions;
    reply.objects_dropped = r->dropped.objects;
    reply.bytes_freed = r->dropped.bytes;
    reply_add_problems(&call->arena, &problems, r->errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    admin_reply(call, &reply.base);
}

void admin_gc(struct admin_call *call, const ProtobufCMessage *request) {
    const Headgate__GcRequest *m = (const Headgate__GcRequest *)request;
    const struct store_retention retention = {.versions = m->has_keep ? m->keep : call->admin->keep_versions};
    engine_gc(call->admin->engine, &retention, m->dry_run, on_collected, call);
}
