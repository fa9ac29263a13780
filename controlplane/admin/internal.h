/* internal.h — what the files of the admin service share. */
#pragma once

#include "common/arena.h"
#include "controlplane/admin/service.h"
#include "controlplane/engine/reply.h"

/* One unary call, from its request to its reply. */
struct admin_call {
    struct admin *admin;
    struct rpc_call *call;          /* NULL: the client has gone away */
    const struct admin_handler *handler;
    struct arena arena;             /* of the reply */
    bool has_request, is_answered;
};

/* Answers; the call is over then, and must not be touched. */
void admin_reply(struct admin_call *call, const ProtobufCMessage *reply);

/* Handlers: each answers, now or later. */
void admin_push(struct admin_call *call, const ProtobufCMessage *request);
void admin_log(struct admin_call *call, const ProtobufCMessage *request);
void admin_show(struct admin_call *call, const ProtobufCMessage *request);
void admin_diff(struct admin_call *call, const ProtobufCMessage *request);
void admin_status(struct admin_call *call, const ProtobufCMessage *request);
void admin_explain(struct admin_call *call, const ProtobufCMessage *request);
void admin_verify(struct admin_call *call, const ProtobufCMessage *request);
/* Fills the clusters of the reply, or the one of this name, and adds what is wrong with them. NULL: all. */
void admin_add_clusters(struct admin_call *call, const struct snapshot *s, const char *name, Headgate__StatusReply *reply,
                        struct problem_list *problems);
/* Fills the certificates of the reply, and adds what is wrong with them. */
void admin_add_certificates(struct admin_call *call, const struct snapshot *s, Headgate__StatusReply *reply,
                            struct problem_list *problems);
/* Fills the management servers of the reply, and adds which do not answer. */
void admin_add_management_servers(struct admin_call *call, Headgate__StatusReply *reply, struct problem_list *problems);
/* Fills the etcd of the reply, and adds what is wrong with it. */
void admin_add_etcd(struct admin_call *call, Headgate__StatusReply *reply, struct problem_list *problems);
/* What people may know of a secret, as YAML. 0, or -1 with an error. */
int admin_describe_secret(struct engine *e, const char *name, struct strbuf *out, struct error_list *errors);
void admin_gc(struct admin_call *call, const ProtobufCMessage *request);
void admin_top(struct admin_call *call, const ProtobufCMessage *request);

/* Adds which resources of the management server that counts are refused, absent, or not complete. */
void admin_add_discovered(struct admin_call *call, struct problem_list *problems);

/* client_status.c: how calls of client status begin; see rpc_method. */
void admin_fetch_client_status(void *context, const struct rpc_method *method, struct rpc_call *call);
void admin_stream_client_status(void *context, const struct rpc_method *method, struct rpc_call *call);

/* status.c, for top as well: whether the stream has said Hello and has not ended, the name of how it is, and the nodes
 * without a stream. */
bool admin_has_greeted(const struct data_plane *dp);
const char *admin_health_name(enum data_plane_health health);
size_t admin_away(struct admin_call *call, Headgate__AwayDataPlane ***ret);
