/* explain.h — which route of a server's RouteConfiguration a request takes, by the data plane's code, in the server's words.
 *
 * What is not supported here does not stand in the way, unless it decides which requests a route is for; it is told. So the
 * answer is the same that the server's own tools give. Thread: one at a time. */
#pragma once

#include "common/error.h"
#include "common/str.h"
#include "controlplane/xds/translate/runtime.h"
#include "proto/admin.pb-c.h"
#include "proto/google/protobuf/struct.pb-c.h"

enum { XDS_EXPLAIN_MAX = 16 << 20 };        /* bytes of a file */

struct xds_explain_options {
    bool     is_json;
    /* The number by which a request is given to a cluster of several and to routes that take a share. Without one the first
     * cluster is taken, and routes that take a share, but for all, are passed over. */
    bool     has_random;
    uint32_t random;
    const struct xds_runtime *runtime;      /* values that there are; may be NULL */
    const Google__Protobuf__Struct *metadata; /* the dynamic metadata of the request, by filter; may be NULL */
};

/* `text` is a RouteConfiguration as JSON or YAML, `file` its name for places. Appends to `out`. Returns 0, or -1 after
 * adding at least one error. */
int xds_explain(const char *file, struct str text, const Headgate__ExplainRequest *request,
                const struct xds_explain_options *options, struct strbuf *out, struct error_list *errors);
