/* client_internal.h — what client.c and call.c share. */
#pragma once

#include "common/token_file.h"
#include "controlplane/etcd/client.h"

struct member {
    const char         *name;
    struct rpc_channel *channel;
    struct strbuf       error;
    uint64_t            failed_at, answered_at, failures;
};

struct etcd {
    struct rpc_loop    *rpc;
    struct etcd_address address;
    struct member       members[ETCD_MEMBERS_MAX];
    size_t              used;           /* whom calls go to */
    char               *user, *password; /* NULL: none */
    struct token_file  *password_file;  /* likewise; instead of the password */
    char               *token;          /* NULL: none yet; "": none is needed */
    struct etcd_call    login;
    struct etcd_call   *waiting;        /* for the token */
    uint64_t            logins;
    bool                is_stopped;
};

/* The token, if there is a user, and what all calls have; at most ETCD_METADATA_MAX. */
enum { ETCD_METADATA_MAX = 2 };
size_t etcd_metadata(const struct etcd *e, struct rpc_metadata to[ETCD_METADATA_MAX]);
void etcd_member_answered(struct etcd *e, size_t member);
/* The next is used from now on, if this one is. */
void etcd_member_failed(struct etcd *e, size_t member, grpc_status_code status, struct str text);
/* Whether another member may know better. */
bool etcd_is_of_member(grpc_status_code status);
