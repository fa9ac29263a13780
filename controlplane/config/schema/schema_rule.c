#include "controlplane/config/schema/schema_cluster.h"
#include "controlplane/config/schema/schema_rule.h"

#define MIB ((uint64_t)1 << 20)
#define DAY ((uint64_t)86400000000)

/* ---- what a rule matches ---- */

static const struct schema_key path_match_keys[] = {
    {.key = "exact", .type = SCHEMA_TEXT, .form = &text_path, .group = 1, .description = "The whole path."},
    {.key = "prefix",
     .type = SCHEMA_TEXT,
     .form = &text_path,
     .group = 1,
     .description =
         "Whole segments that the path begins with: `/api` and `/api/` match `/api` and `/api/x`, never "
         "`/apix`."},
    {.key = "starts-with",
     .type = SCHEMA_TEXT,
     .form = &text_path,
     .group = 1,
     .description = "How the path begins, byte by byte: `/api` matches `/apix`, too."},
    {.key = "regex",
     .type = SCHEMA_TEXT,
     .form = &text_regex,
     .group = 1,
     .description = "A regular expression (PCRE2) for the whole path, with limits on steps and depth: where they are met, "
                    "the answer is 500, and no later rule is taken."},
    {.key = "ignore-case",
     .type = SCHEMA_BOOL,
     .description =
         "`true`: upper and lower case are the same. Such rules are compared one by one, so a table should not have "
         "very many. Not with `regex`, which has `(?i)`."},
    {0},
};

static const struct schema_object path_match = {
    .title = "path-match",
    .description = "What the canonical path is, without the query. Exactly one of exact, prefix, starts-with and regex.",
    .message = &headgate__path_match__descriptor,
    .keys = path_match_keys,
    .groups = 1 << 1,
};

static const struct schema_key range_keys[] = {
    {.key = "from", .type = SCHEMA_INTEGER, .min = 0, .max = INT64_MAX, .description = "The least number."},
    {.key = "below", .type = SCHEMA_INTEGER, .min = 1, .max = INT64_MAX, .absent = "no bound",
     .description = "The first number that is too large."},
    {0},
};

static const struct schema_object number_range = {
    .title = "number-range",
    .description = "Whole numbers in decimal digits.",
    .message = &headgate__number_range__descriptor,
    .keys = range_keys,
};

#define CONDITION_KEYS \
    {.key = "exact", .type = SCHEMA_TEXT, .form = &text_any, .group = 1, .description = "The whole value."}, \
    {.key = "prefix", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, \
     .description = "How the value begins."}, \
    {.key = "suffix", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, .description = "How the value ends."}, \
    {.key = "contains", .type = SCHEMA_TEXT, .form = &text_any, .min = 1, .group = 1, \
     .description = "A part of the value."}, \
    {.key = "regex", .type = SCHEMA_TEXT, .form = &text_regex, .group = 1, \
     .description = "A regular expression (PCRE2) for the whole value."}, \
    {.key = "range", .type = SCHEMA_OBJECT, .object = &number_range, .group = 1, \
     .description = "The value is a number in this range."}, \
    {.key = "ignore-case", .type = SCHEMA_BOOL, \
     .description = "`true`: exact, prefix, suffix and contains take upper and lower case for the same."}, \
    {.key = "present", .type = SCHEMA_BOOL, .group = 1, \
     .description = "`true`: must be there; `false`: must not be there."}, \
    {.key = "not", .field = "invert", .type = SCHEMA_BOOL, .description = "`true`: the condition must not hold."}

static const struct schema_key header_match_keys[] = {
    {.key = "name",
     .type = SCHEMA_TEXT,
     .form = &text_condition_name,
     .flags = SCHEMA_REQUIRED,
     .description =
         "The field; case does not count. `:method`, `:authority` (the host with its port), `:scheme` and `:path` "
         "(the canonical path with the query) stand for what the request line says."},
    CONDITION_KEYS,
    {0},
};

static const struct schema_object header_match = {
    .title = "header-match",
    .description =
        "A condition on a request field. Exactly one of exact, prefix, suffix, contains, regex, range and present.",
    .message = &headgate__field_match__descriptor,
    .keys = header_match_keys,
    .shorthand = "exact",
    .groups = 1 << 1,
};

static const struct schema_key query_match_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_any, .flags = SCHEMA_REQUIRED, .min = 1,
     .description = "The parameter, percent-decoded."},
    CONDITION_KEYS,
    {0},
};

static const struct schema_object query_match = {
    .title = "query-match",
    .description = "A condition on a query parameter, percent-decoded. Exactly one of exact, prefix, suffix, "
                   "contains, regex, range and present.",
    .message = &headgate__field_match__descriptor,
    .keys = query_match_keys,
    .shorthand = "exact",
    .groups = 1 << 1,
};

static const struct schema_key fraction_keys[] = {
    {.key = "numerator", .type = SCHEMA_INTEGER, .min = 0, .max = UINT32_MAX, .description = "How many."},
    {.key = "of", .type = SCHEMA_INTEGER, .min = 1, .max = UINT32_MAX, .description = "Out of how many."},
    {0},
};

static const struct schema_object fraction = {
    .title = "fraction",
    .description = "A share of the requests, by chance.",
    .message = &headgate__fraction__descriptor,
    .keys = fraction_keys,
    .shorthand = "numerator",
};

static const struct schema_key match_keys[] = {
    {.key = "path", .type = SCHEMA_OBJECT, .object = &path_match, .description = "A condition on the path."},
    {.key = "methods",
     .type = SCHEMA_TEXT,
     .form = &text_method,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .max = 64,
     .absent = "every method",
     .description = "Any of these methods."},
    {.key = "headers",
     .type = SCHEMA_OBJECT,
     .object = &header_match,
     .flags = SCHEMA_LIST | SCHEMA_NAMED,
     .max = 64,
     .description =
         "Conditions on request fields; all must hold. A mapping from name to condition, or a list of "
         "conditions."},
    {.key = "query",
     .type = SCHEMA_OBJECT,
     .object = &query_match,
     .flags = SCHEMA_LIST | SCHEMA_NAMED,
     .max = 64,
     .description =
         "Conditions on query parameters; all must hold. A mapping from name to condition, or a list of "
         "conditions."},
    {.key = "fraction",
     .type = SCHEMA_OBJECT,
     .object = &fraction,
     .absent = "all of them",
     .description =
         "The rule takes only so many of the requests that meet its conditions; the others go on to the next rules. "
         "A lone number is a percentage."},
    {0},
};

const struct schema_object schema_match = {
    .title = "match",
    .description = "Which requests the rule is for: all conditions must hold.",
    .message = &headgate__match__descriptor,
    .keys = match_keys,
};

/* ---- what a rule does ---- */

static const struct schema_key header_field_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_own_field_name, .flags = SCHEMA_REQUIRED,
     .description = "The field."},
    {.key = "value", .type = SCHEMA_TEXT, .form = &text_field_value, .flags = SCHEMA_REQUIRED, .description = "Its value."},
    {0},
};

static const struct schema_object header_field = {
    .title = "header",
    .description = "A field of the answer.",
    .message = &headgate__header_field__descriptor,
    .keys = header_field_keys,
    .shorthand = "value",
};

static const struct schema_key respond_keys[] = {
    {.key = "status", .type = SCHEMA_INTEGER, .min = 200, .max = 599, .description = "The status code."},
    {.key = "body", .type = SCHEMA_TEXT, .form = &text_body, .max = MIB, .absent = "empty",
     .description = "The content, at most 1 MiB."},
    {.key = "content-type", .type = SCHEMA_TEXT, .form = &text_field_value, .description = "Its media type."},
    {.key = "headers", .type = SCHEMA_OBJECT, .object = &header_field, .flags = SCHEMA_LIST | SCHEMA_NAMED, .max = 64,
     .description = "Further fields. A mapping from name to value, or a list of `{name, value}` where one name comes "
                    "several times."},
    {0},
};

const struct schema_object schema_respond = {
    .title = "respond",
    .description = "An answer of the gateway's own.",
    .message = &headgate__respond__descriptor,
    .keys = respond_keys,
    .check = check_respond,
};

static const uint16_t redirect_statuses[] = {301, 302, 303, 307, 308, 0};

static const struct schema_key redirect_keys[] = {
    {.key = "status",
     .type = SCHEMA_INTEGER,
     .allowed = redirect_statuses,
     .description = "The status code."},
    {.key = "scheme",
     .type = SCHEMA_TEXT,
     .form = &text_scheme,
     .absent = "that of the request",
     .description = "The new scheme."},
    {.key = "host",
     .type = SCHEMA_TEXT,
     .form = &text_host,
     .absent = "that of the request",
     .description = "The new host, with its port where it has one."},
    {.key = "path",
     .type = SCHEMA_TEXT,
     .form = &text_location,
     .group = 1,
     .absent = "that of the request",
     .description = "Replaces the whole path and drops the query."},
    {.key = "prefix",
     .type = SCHEMA_TEXT,
     .form = &text_path,
     .group = 1,
     .description =
         "Replaces the prefix, or the exact path, that the rule matches; a rule that matches by regex has none."},
    {.key = "regex",
     .type = SCHEMA_TEXT,
     .form = &text_regex,
     .group = 1,
     .description = "Every match of it in the path is replaced by `substitution`."},
    {.key = "substitution",
     .type = SCHEMA_TEXT,
     .form = &text_substitution,
     .max = 4096,
     .description = "What the matches of `regex` become; `\\1` is its first group."},
    {.key = "port",
     .type = SCHEMA_INTEGER,
     .min = 1,
     .max = 65535,
     .absent = "that of the request, or of `host`",
     .description = "The new port; not with a host that has one."},
    {.key = "keep-port",
     .type = SCHEMA_BOOL,
     .description =
         "Another scheme drops the port of the request, whatever it is. `true`: only the default port of the old one."},
    {.key = "keep-query",
     .type = SCHEMA_BOOL,
     .description = "With `path`: the query of the request stays, unless the path has its own."},
    {.key = "strip-query", .type = SCHEMA_BOOL, .description = "Drops the query."},
    {0},
};

const struct schema_object schema_redirect = {
    .title = "redirect",
    .description = "An answer that sends the client elsewhere. What is absent is taken from the request.",
    .message = &headgate__redirect__descriptor,
    .keys = redirect_keys,
    .check = check_redirect,
};

static const struct schema_word change_actions[] = {
    {"set", HEADGATE__HEADER_CHANGE__ACTION__SET, "Instead of all that are there."},
    {"append", HEADGATE__HEADER_CHANGE__ACTION__APPEND, "Beside those that are there."},
    {"add-if-absent", HEADGATE__HEADER_CHANGE__ACTION__ADD_IF_ABSENT, "Where there is none."},
    {"replace", HEADGATE__HEADER_CHANGE__ACTION__REPLACE, "As set, where there is one."},
    {"remove", HEADGATE__HEADER_CHANGE__ACTION__REMOVE, "All of that name go."},
    {0},
};

static const struct schema_key change_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_own_field_name, .flags = SCHEMA_REQUIRED,
     .description = "The field; case does not count."},
    {.key = "value", .type = SCHEMA_TEXT, .form = &text_field_value, .max = 16384, .absent = "empty",
     .description =
         "Its value. `%REQ(name?other):N%` is a field of the request (or `:method`, `:authority`, `:scheme`, `:path`), or "
         "else the other one, at most N bytes; `%RESP(name)%` and `%RESPONSE_CODE%` are of the response; "
         "`%PROTOCOL%`, `%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%` (the client), "
         "`%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%` (the connection), `%ROUTE_NAME%` and `%UPSTREAM_CLUSTER%` are "
         "what they say; `%%` is a percent sign. What is not known is empty."},
    {.key = "action", .type = SCHEMA_WORD, .words = change_actions, .description = "What becomes of fields of that name."},
    {.key = "keep-empty", .type = SCHEMA_BOOL,
     .description = "Also when the value is empty. Else nothing is changed then."},
    {0},
};

const struct schema_object schema_header_change = {
    .title = "header-change",
    .description = "A change of a field. Changes are made in their order.",
    .message = &headgate__header_change__descriptor,
    .keys = change_keys,
    .check = check_header_change,
};

static const struct schema_key weighted_keys[] = {
    {.key = "name", .type = SCHEMA_TEXT, .form = &text_name, .flags = SCHEMA_REQUIRED, .kind = HEADGATE__KIND__KIND_CLUSTER,
     .description = "The cluster."},
    {.key = "weight", .type = SCHEMA_INTEGER, .min = 0, .max = 1000000, .description = "Its share; 0: it gets nothing."},
    {.key = "subset", .type = SCHEMA_OBJECT, .object = &schema_metadata, .flags = SCHEMA_LIST | SCHEMA_NAMED, .max = 8,
     .absent = "any of its endpoints",
     .description = "Only endpoints with this metadata: `{version: v2}`. One of the cluster's `balancing.subsets` has "
                    "exactly these keys."},
    {.key = "request-headers", .type = SCHEMA_OBJECT, .object = &schema_header_change, .flags = SCHEMA_LIST,
     .max = 256, .description = "Changes of the request for this choice, before those of the rule."},
    {.key = "response-headers", .type = SCHEMA_OBJECT, .object = &schema_header_change, .flags = SCHEMA_LIST,
     .max = 256, .description = "Changes of the response for this choice, before those of the rule."},
    {0},
};

const struct schema_object schema_weighted_cluster = {
    .title = "weighted-cluster",
    .description = "A cluster and its share of the requests.",
    .message = &headgate__weighted_cluster__descriptor,
    .keys = weighted_keys,
    .shorthand = "name",
};

static const struct schema_key rewrite_keys[] = {
    {.key = "prefix", .type = SCHEMA_TEXT, .form = &text_path, .group = 1,
     .description = "Replaces the prefix, or the exact path, that the rule matches; a rule that matches by regex has none."},
    {.key = "regex", .type = SCHEMA_TEXT, .form = &text_regex, .group = 1,
     .description = "Every match of it in the path is replaced by `substitution`."},
    {.key = "substitution", .type = SCHEMA_TEXT, .form = &text_substitution, .max = 4096,
     .description = "What the matches of `regex` become; `\\1` is its first group."},
    {.key = "host", .type = SCHEMA_TEXT, .form = &text_host, .group = 2, .absent = "that of the request",
     .description = "The Host that the origin sees."},
    {.key = "host-from-endpoint", .type = SCHEMA_BOOL, .group = 2,
     .description = "The origin sees the endpoint's host name as Host, or its address where it has none."},
    {0},
};

const struct schema_object schema_rewrite = {
    .title = "rewrite",
    .description = "What the origin gets in place of what the client sent.",
    .message = &headgate__rewrite__descriptor,
    .keys = rewrite_keys,
    .check = check_rewrite,
};

static const struct schema_word retry_reasons[] = {
    {"connect-failure", HEADGATE__RETRY__ON__CONNECT_FAILURE, "No connection to the endpoint came about."},
    {"reset", HEADGATE__RETRY__ON__RESET, "The origin broke off before any of its answer was passed on."},
    {"gateway-error", HEADGATE__RETRY__ON__GATEWAY_ERROR, "502, 503 and 504."},
    {"5xx", HEADGATE__RETRY__ON__SERVER_ERROR, "Any of 500 to 599."},
    {"409", HEADGATE__RETRY__ON__CONFLICT, "That status."},
    {"429", HEADGATE__RETRY__ON__STATUS_429, "That status."},
    {"502", HEADGATE__RETRY__ON__STATUS_502, "That status."},
    {"503", HEADGATE__RETRY__ON__STATUS_503, "That status."},
    {"504", HEADGATE__RETRY__ON__STATUS_504, "That status."},
    {0},
};

static const struct schema_key retry_keys[] = {
    {.key = "retries",
     .type = SCHEMA_INTEGER,
     .min = 0,
     .max = 10,
     .description = "Attempts after the first."},
    {.key = "on",
     .type = SCHEMA_WORD,
     .words = retry_reasons,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .max = 16,
     .absent = "[connect-failure]",
     .description = "After what."},
    {.key = "statuses",
     .type = SCHEMA_INTEGER,
     .min = 200,
     .max = 599,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .absent = "none",
     .description = "After these statuses, besides what `on` says."},
    {.key = "grpc-statuses",
     .type = SCHEMA_INTEGER,
     .min = 1,
     .max = 16,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .absent = "none",
     .description =
         "After these statuses of gRPC, where the answer is an error and nothing else: 1 cancelled, 14 unavailable."},
    {.key = "methods",
     .type = SCHEMA_TEXT,
     .form = &text_method,
     .flags = SCHEMA_LIST | SCHEMA_ONE_OK,
     .max = 64,
     .absent = "the idempotent ones: GET, HEAD, OPTIONS, TRACE, PUT and DELETE",
     .description = "For which requests."},
    {.key = "per-try-timeout",
     .type = SCHEMA_DURATION,
     .min = 0,
     .max = DAY,
     .flags = SCHEMA_MAY_BE_OFF,
     .description = "How long one attempt may take until the head of its answer."},
    {.key = "backoff",
     .type = SCHEMA_DURATION,
     .min = 0,
     .max = DAY,
     .flags = SCHEMA_MAY_BE_OFF,
     .description = "Before retry n a random time of up to this times 2^n - 1 passes."},
    {.key = "max-backoff",
     .type = SCHEMA_DURATION,
     .min = 0,
     .max = DAY,
     .flags = SCHEMA_MAY_BE_OFF,
     .description = "And at most this."},
    {.key = "max-retry-after",
     .type = SCHEMA_DURATION,
     .min = 0,
     .max = DAY,
     .flags = SCHEMA_MAY_BE_OFF,
     .description =
         "A Retry-After of the origin of up to this is waited for. With a longer one its answer goes to the "
         "client; off: it "
         "is not looked at."},
    {.key = "body",
     .type = SCHEMA_SIZE,
     .min = 0,
     .max = 16 * MIB,
     .description =
         "So much of a request's body is kept for another attempt. One that has sent more is not repeated."},
    {.key = "hedge-after",
     .type = SCHEMA_DURATION,
     .min = 0,
     .max = DAY,
     .flags = SCHEMA_MAY_BE_OFF,
     .description =
         "A second attempt is made beside the first when no answer began by then; the first answer counts. For "
         "the same methods as retries, and only without a body."},
    {0},
};

const struct schema_object schema_retry = {
    .title = "retry",
    .description = "When a failed request is sent again, to another endpoint where there is one.",
    .message = &headgate__retry__descriptor,
    .keys = retry_keys,
};
