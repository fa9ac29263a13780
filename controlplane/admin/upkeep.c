/* Verify and Gc: looking after the store. Both keep the loop busy while they read: data planes go on serving meanwhile. */
#include "controlplane/admin/internal.h"

void admin_verify(struct admin_call *call, const ProtobufCMessage *request) {
    Headgate__VerifyReply reply = HEADGATE__VERIFY_REPLY__INIT;
    struct store_verify_result result = {0};
    struct error_list errors = {0};
    struct problem_list problems = {0};
    (void)request;
    if (store_verify(engine_store(call->admin->engine), NULL, NULL, &result, &errors) == 0)
        reply.has_objects = reply.has_versions = reply.has_bytes = true;
    reply.objects = result.objects;
    reply.versions = result.versions;
    reply.bytes = result.bytes;
    reply_add_problems(&call->arena, &problems, &errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    error_list_finish(&errors);
    admin_reply(call, &reply.base);
}

void admin_gc(struct admin_call *call, const ProtobufCMessage *request) {
    const Headgate__GcRequest *m = (const Headgate__GcRequest *)request;
    Headgate__GcReply reply = HEADGATE__GC_REPLY__INIT;
    const struct store_retention retention = {.versions = m->has_keep ? m->keep : call->admin->keep_versions};
    struct store_gc_result result = {0};
    struct error_list errors = {0};
    struct problem_list problems = {0};
    if (store_gc(engine_store(call->admin->engine), &retention, m->dry_run, &result, &errors) == 0)
        reply.has_versions_dropped = reply.has_objects_dropped = reply.has_bytes_freed = true;
    reply.versions_dropped = result.versions;
    reply.objects_dropped = result.objects;
    reply.bytes_freed = result.bytes;
    reply_add_problems(&call->arena, &problems, &errors, false);
    reply.problems = problems.items;
    reply.n_problems = problems.count;
    error_list_finish(&errors);
    admin_reply(call, &reply.base);
}
