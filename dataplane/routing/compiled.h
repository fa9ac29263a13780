/* compiled.h — what a route table is made of. Private to this folder; route.h is what others use. */
#pragma once

#include "common/map.h"
#include "dataplane/routing/path.h"
#include "dataplane/routing/regex.h"
#include "dataplane/routing/route.h"

enum { NO_RULE = UINT32_MAX, NO_NODE = UINT32_MAX };

enum {
    ROUTE_SCRATCH_BYTES = 65536, /* a joined field value or a decoded parameter; beyond: a limit was hit */
    ROUTE_NESTING_MAX = 60,      /* prefix rules of one host inside each other, as /a, /a/b, /a/b/c */
    ROUTE_PARTIAL_MAX = 16,      /* bytes of a part of a segment that are looked up; the rest is compared */
    ROUTE_PARTIALS_MAX = 128,    /* lengths of such parts on the way to one path */
};

struct route_scratch {
    struct regex_scratch *regex;
    char                  text[ROUTE_SCRATCH_BYTES];
};

/* ---- conditions on one value */

enum test { TEST_PRESENT, TEST_EXACT, TEST_PREFIX, TEST_SUFFIX, TEST_CONTAINS, TEST_REGEX, TEST_RANGE };

/* What a condition on headers looks at. */
enum subject { SUBJECT_FIELD, SUBJECT_METHOD, SUBJECT_AUTHORITY, SUBJECT_SCHEME, SUBJECT_TARGET };

/* On a header or a query parameter. A value that is absent meets no test; `negate` turns the outcome round. */
struct condition {
    struct str    name;
    enum subject  subject;
    enum test     test;
    bool          negate, ignore_case;
    struct str    text;  /* to compare with; the pattern of TEST_REGEX */
    struct regex *regex;
    uint64_t      from, below; /* TEST_RANGE; below 0: no bound */
};

enum verdict { VERDICT_NO, VERDICT_YES, VERDICT_LIMIT };

/* Of two parts of a rule. One that says no decides, whatever a limit leaves open. */
static inline enum verdict verdict_and(enum verdict a, enum verdict b) {
    return a == VERDICT_NO || b == VERDICT_NO ? VERDICT_NO : a == VERDICT_LIMIT ? a : b;
}

/* ---- rules */

enum path_kind { PATH_KIND_ANY, PATH_KIND_EXACT, PATH_KIND_PREFIX, PATH_KIND_REGEX, PATH_KIND_STARTS };

/* A cluster, or a subset of its endpoints. */
struct chosen_cluster {
    struct str name;
    const Headgate__WeightedCluster *message; /* the first that names it */
};

struct weighted {
    uint32_t cluster; /* index in the table */
    uint64_t upto;    /* sum of the weights up to and with this one */
    struct header_changes request_changes, response_changes;
};

/* A substitution, cut up: literal text, then a group (or -1). */
struct piece {
    struct str literal;
    int        group;
};

struct rule {
    struct route      route; /* first member: a route is its rule */
    const struct path_policy *policy; /* the table's */
    uint32_t          host, index;
    uint32_t          next;  /* in the same list of the index: a later rule, or NO_RULE */
    enum path_kind    path_kind;
    bool              ignore_case; /* of the path */
    struct str
        path; /* canonical; a prefix without its last "/"; the pattern of a regex; any text of PATH_KIND_STARTS */
    struct regex     *path_regex;
    struct str       *methods;
    struct condition *headers, *query;
    uint32_t          method_count, header_count, query_count;
    uint32_t          fraction, fraction_of;       /* of 0: always */
    /* forward */
    struct weighted  *clusters;
    uint32_t          cluster_count;
    uint32_t          retry_statuses;              /* enum retry_status */
    bool              has_new_prefix;              /* of rewrite or redirect */
    struct str        new_prefix;                  /* without its last "/", but for PATH_KIND_STARTS */
    struct regex     *rewrite_regex;
    struct piece     *pieces;
    uint32_t          piece_count;
};

enum retry_status { RETRY_429 = 1, RETRY_502 = 2, RETRY_503 = 4, RETRY_504 = 8, RETRY_409 = 16, RETRY_5XX = 32 };

static inline const struct rule *rule_of(const struct route *route) {
    return (const struct rule *)route;
}

/* ---- the index: a trie of path segments for all hosts of a table */

/* Rules in ascending order, chained by rule.next. */
struct rule_list {
    uint32_t first, last;
};

struct node {
    uint32_t         parent;         /* a smaller number; NO_NODE: a host's root */
    struct rule_list prefix, exact;  /* of rules whose path ends here */
    uint32_t
        partials; /* the node below which parts of this node's next segments are; NO_NODE: there are none */
    uint32_t         partial_lengths; /* bit n: one of them is n bytes long */
};

struct edge {
    uint32_t   parent, child; /* child == NO_NODE: a free place */
    uint32_t   hash;
    struct str segment;
};

struct index {
    struct node *nodes;
    size_t       node_count, node_capacity;
    struct edge *edges;
    size_t       edge_count, edge_capacity; /* capacity: 0 or a power of two */
};

void     index_finish(struct index *index);
/* A host's root, NO_NODE without memory. */
uint32_t index_add_root(struct index *index);
/* The node of a path below `root`, made when it is not there; path is empty, or begins with "/". NO_NODE without memory. */
uint32_t index_add_path(struct index *index, uint32_t root, struct str path);
/* The child of a node, or NO_NODE. */
uint32_t index_find(const struct index *index, uint32_t parent, struct str segment);
/* The node of what begins with `part` below the node `parent`; of a long part only the first bytes count. */
uint32_t index_add_partial(struct index *index, uint32_t parent, struct str part);
/* A node whose prefix rule lies inside more than ROUTE_NESTING_MAX others, or on whose way there are more than
 * ROUTE_PARTIALS_MAX lengths of parts (with *ret_is_partial), or NO_NODE; NO_NODE too without memory, with *ret_failed. */
uint32_t index_find_too_deep(const struct index *index, bool *ret_is_partial, bool *ret_failed);

/* ---- hosts and the table */

struct host {
    uint32_t         number;     /* in the message */
    uint32_t         root;
    struct rule     *rules;
    uint32_t         rule_count;
    struct rule_list others;     /* rules that the trie does not hold */
};

struct domain {
    struct str         text;     /* "example.com", "*.example.com", "example.*", "*" */
    const struct host *host;
};

struct route_table {
    struct arena       arena;    /* all that is below but the index and the maps' entries */
    struct path_policy policy;
    struct host       *hosts;
    size_t             host_count;
    struct map         exact;    /* "example.com" -> struct domain */
    struct map         wildcard; /* ".example.com", "-eu.example.com" -> struct domain */
    unsigned           wildcard_labels; /* the most dots of a wildcard */
    bool               has_partial_label; /* a wildcard does not begin at a dot */
    bool               match_port;
    struct map         front;    /* "example." -> struct domain */
    struct domain     *any;
    struct index       index;
    struct chosen_cluster *clusters;
    size_t             cluster_count, cluster_capacity;
    struct map         cluster_by_key; /* name and subset, to the index + 1 */
    struct regex     **regexes;  /* to be destroyed */
    size_t             regex_count, regex_capacity;
};

/* ---- the predicates; shared by matching and explaining */

enum verdict check_path(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch);
bool         check_method(const struct rule *rule, const struct route_request *request);
enum verdict check_header(const struct condition *c, const struct route_request *request, struct route_scratch *scratch);
enum verdict check_query(const struct condition *c, const struct route_request *request, struct route_scratch *scratch);
/* All but the path. */
enum verdict check_conditions(const struct rule *rule, const struct route_request *request, struct route_scratch *scratch);
/* What a condition on headers looks at: of a field that is repeated all values, joined with ", " (RFC 9110 section 5.3).
 * *ret_is_present false: there is none. Returns 0, or -1 when it does not fit into the scratch. */
int header_value(const struct condition *c, const struct route_request *request, struct route_scratch *scratch,
                 bool *ret_is_present, struct str *ret);
/* The next parameter whose decoded name is `name`: *rest moves behind it, *ret_value is as it stands there. */
bool query_next(struct str *rest, struct str name, struct str *ret_value);

bool in_fraction(const struct rule *rule, const struct route_request *request);

/* Which domain a request belongs to, or NULL. */
const struct domain *find_domain(const struct route_table *table, const struct route_request *request);
void fill_match(const struct rule *rule, const struct route_request *request, struct route_match *match);

/* ---- building */

struct builder {
    struct route_table       *table;
    const Headgate__Settings *settings; /* may be NULL */
    struct error_list        *errors;
    const char               *resource; /* "route-table/site" */
    size_t                    host, rule;
    bool                      has_rule; /* the error is about a rule, not its host */
    bool                      failed;   /* an error was added, or memory is short */
};

/* `field` is below the host or rule that is being built: "match.path.prefix". `expected` may be NULL. */
void  build_fault(struct builder *b, enum error_code code, const char *field, const char *expected, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void  build_no_memory(struct builder *b);
/* From the table's arena, cleared; never NULL for a count of 0. NULL: build_no_memory was called. */
void *build_alloc(struct builder *b, size_t count, size_t size);
/* Compiles a pattern; the table destroys it. NULL: a fault was added at `field`. */
struct regex *build_regex(struct builder *b, const char *pattern, enum regex_kind kind, const char *field);
/* A path that a user wrote, which must be canonical. False: a fault was added. */
bool  build_path(struct builder *b, const char *text, const char *field, struct str *ret);
/* The index of a cluster's name and subset in the table. */
uint32_t build_cluster(struct builder *b, const Headgate__WeightedCluster *c);

/* Fills in one rule (build_match.c, build_action.c); faults go to the builder. */
void build_match(struct builder *b, const Headgate__Match *match, struct rule *rule);
void build_action(struct builder *b, const Headgate__Rule *message, struct rule *rule);
/* Puts one domain of a host into the table (build_domain.c). */
void build_domain(struct builder *b, struct host *host, const char *name, size_t number);
