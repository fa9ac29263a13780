#include "common/plural.h"
#include "controlplane/config/message/fill.h"
#include "controlplane/config/schema/schema_rule.h"

/* ---- the parts of a rule ---- */

void check_respond(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Respond *respond = (const Headgate__Respond *)m;
    struct fill_at body = fill_down(at, "body");
    bool has_no_content = respond->status == 204 || respond->status == 205 || respond->status == 304;
    if (has_no_content && respond->has_body && respond->body.len)
        fill_report(f, &body, ERROR_CONFLICT, "an answer with status %u has no body", respond->status);
}

/* The largest group that the text refers to. */
static unsigned largest_group(const char *substitution) {
    unsigned largest = 0;
    for (const char *c = substitution; *c; c++) {
        if (*c != '\\' || !c[1])
            continue;
        c++;
        if (*c >= '0' && *c <= '9' && (unsigned)(*c - '0') > largest)
            largest = (unsigned)(*c - '0');
    }
    return largest;
}

static void check_replacement(struct fill *f, const struct fill_at *at, const char *regex, const char *substitution) {
    struct fill_at regex_at = fill_down(at, "regex"), substitution_at = fill_down(at, "substitution");
    if (regex && !substitution)
        fill_report(f, &regex_at, ERROR_MISSING, "\"regex\" needs \"substitution\" beside it");
    else if (substitution && !regex)
        fill_report(f, &substitution_at, ERROR_MISSING, "\"substitution\" needs \"regex\" beside it");
    else if (regex) {
        unsigned groups = text_regex_groups(str_of(regex)), largest = largest_group(substitution);
        if (largest > groups)
            fill_report(f, &substitution_at, ERROR_RANGE, "\\%u is used, but the regex has %u group%s", largest, groups,
                        plural(groups));
    }
}

void check_redirect(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Redirect *redirect = (const Headgate__Redirect *)m;
    check_replacement(f, at, redirect->regex, redirect->substitution);
    if (redirect->scheme || redirect->host || redirect->port || redirect->path || redirect->prefix || redirect->regex)
        return;
    struct error *e = fill_report(f, at, ERROR_MISSING, "the redirect leads back to where the client was");
    error_set_expected(f->errors, e, "at least one of scheme, host, port, path, prefix and regex", NULL);
}

void check_rewrite(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Rewrite *rewrite = (const Headgate__Rewrite *)m;
    check_replacement(f, at, rewrite->regex, rewrite->substitution);
}

void check_header_change(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__HeaderChange *change = (const Headgate__HeaderChange *)m;
    struct fill_at value = fill_down(at, "value");
    bool removes = change->action == HEADGATE__HEADER_CHANGE__ACTION__REMOVE;
    if (removes && change->value && *change->value)
        fill_report(f, &value, ERROR_CONFLICT, "what is removed has no value");
    else if (!removes && (!change->value || !*change->value) && !change->keep_empty)
        fill_report(f, at, ERROR_MISSING, "a change without a value changes nothing; with keep-empty it is an empty one");
}

/* ---- the rule ---- */

static void check_weights(struct fill *f, const struct fill_at *at, const Headgate__Forward *forward) {
    for (size_t i = 0; i < forward->n_clusters; i++)
        if (forward->clusters[i]->weight)
            return;
    struct fill_at clusters = fill_down(at, "clusters");
    fill_report(f, &clusters, ERROR_RANGE, "every weight is 0, so no cluster gets a request");
}

static void check_only_forward(struct fill *f, const struct fill_at *at, const char *key) {
    struct fill_at below = fill_down(at, key);
    struct error *e = fill_report_key(f, &below, ERROR_CONFLICT, "\"%s\" is for rules that forward to a cluster", key);
    error_set_expected(f->errors, e, "cluster or clusters beside it", NULL);
}

void check_rule(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Rule *rule = (const Headgate__Rule *)m;
    bool is_forward = rule->action_case == HEADGATE__RULE__ACTION_FORWARD;
    if (is_forward)
        check_weights(f, at, rule->forward);
    if (rule->rewrite && !is_forward)
        check_only_forward(f, at, "rewrite");
    if (rule->n_request_headers && !is_forward)
        check_only_forward(f, at, "request-headers");
    if (rule->retry && !is_forward)
        check_only_forward(f, at, "retry");
    if (rule->n_upgrades && !is_forward)
        check_only_forward(f, at, "upgrades");
    if (rule->n_hash && !is_forward)
        check_only_forward(f, at, "hash");
    if (rule->connect && !is_forward)
        check_only_forward(f, at, "connect");
}

/* ---- rules that no request reaches ---- */

/* Paths that earlier rules take whatever else the request is. */
struct taken {
    struct map exact, prefixes;     /* to anything */
    bool       all;
};

static bool has_conditions_besides_path(const Headgate__Match *match) {
    return match && (match->n_methods || match->n_headers || match->n_query || match->fraction);
}

/* "/api/" and "/api" are the same prefix. */
static struct str prefix_of(const char *path) {
    struct str prefix = str_of(path);
    if (prefix.n && prefix.p[prefix.n - 1] == '/')
        prefix.n--;
    return prefix;
}

static bool is_below_taken_prefix(const struct taken *taken, struct str path) {
    if (map_get(&taken->prefixes, STR("")))
        return true;
    for (size_t n = 1; n <= path.n; n++)
        if ((n == path.n || path.p[n] == '/') && map_get(&taken->prefixes, (struct str){path.p, n}))
            return true;
    return false;
}

static bool is_taken(const struct taken *taken, const Headgate__Match *match) {
    if (taken->all || !match || !match->path || match->path->ignore_case)
        return taken->all;
    if (match->path->kind_case == HEADGATE__PATH_MATCH__KIND_PREFIX)
        return is_below_taken_prefix(taken, prefix_of(match->path->prefix));
    if (match->path->kind_case != HEADGATE__PATH_MATCH__KIND_EXACT)
        return false;
    struct str path = str_of(match->path->exact);
    return map_get(&taken->exact, path) || is_below_taken_prefix(taken, path);
}

static int take(struct taken *taken, const Headgate__Match *match) {
    if (has_conditions_besides_path(match))
        return 0;
    if (!match || !match->path)
        taken->all = true;
    else if (match->path->ignore_case)
        return 0;
    else if (match->path->kind_case == HEADGATE__PATH_MATCH__KIND_PREFIX)
        return map_set(&taken->prefixes, prefix_of(match->path->prefix), taken);
    else if (match->path->kind_case == HEADGATE__PATH_MATCH__KIND_EXACT)
        return map_set(&taken->exact, str_of(match->path->exact), taken);
    return 0;
}

void check_hosts(struct fill *f, const struct fill_at *at, const ProtobufCMessage *m) {
    const Headgate__Host *host = (const Headgate__Host *)m;
    struct taken taken = {0};
    struct fill_at rules = fill_down(at, "rules");
    const struct tree_item *item = rules.node->first;
    int status = 0;
    for (size_t i = 0; i < host->n_rules && item && status == 0; i++, item = item->next) {
        struct fill_at rule_at = {.up = &rules, .item = item, .node = item->node};
        if (is_taken(&taken, host->rules[i]->match))
            fill_warn(f, &rule_at, "no request reaches this rule: an earlier one takes all of them");
        status = take(&taken, host->rules[i]->match);
    }
    if (status < 0)
        fill_out_of_memory(f);
    map_finish(&taken.exact);
    map_finish(&taken.prefixes);
}
