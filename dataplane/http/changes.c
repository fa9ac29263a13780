/* changes.c — what rules change of the fields of requests and responses (routing/changes.h). */
#include "dataplane/http/exchange_private.h"

static struct str protocol(const struct exchange *x) {
    switch (x->log_version) {
    case 10: return STR("HTTP/1.0");
    case 20: return STR("HTTP/2");
    case 30: return STR("HTTP/3");
    default: return STR("HTTP/1.1");
    }
}

static struct change_facts facts_of(const struct exchange *x, const struct head *response) {
    const struct head *request = x->request.head;
    return (struct change_facts){
        .client = x->client, .peer = x->peer, .protocol = protocol(x), .route = x->route->name, .cluster = x->cluster,
        .method = request->method_text, .authority = request->authority, .scheme = x->is_tls ? STR("https") : STR("http"),
        .target = request->target, .request = &request->fields, .response = response ? &response->fields : NULL,
        .status = !response ? 0 : x->tunnel == TUNNEL_OPEN ? tunnel_status(x) : response->status,
    };
}

static int change(struct exchange *x, struct head *head, const struct header_change *c, const struct change_facts *facts) {
    const struct field *there = fields_find_name(&head->fields, c->name);
    struct str value;
    if (c->action == HEADGATE__HEADER_CHANGE__ACTION__REMOVE) {
        fields_remove_name(&head->fields, c->name);
        return 0;
    }
    if ((c->action == HEADGATE__HEADER_CHANGE__ACTION__ADD_IF_ABSENT && there) ||
        (c->action == HEADGATE__HEADER_CHANGE__ACTION__REPLACE && !there))
        return 0;
    if (header_change_value(c, facts, &x->arena, &value) < 0)
        return -1;
    if (value.n == 0 && !c->keep_empty)
        return 0;
    if (c->action == HEADGATE__HEADER_CHANGE__ACTION__APPEND)
        return fields_add(&head->fields, &x->arena, c->name, value);
    return fields_set(&head->fields, &x->arena, c->name, value);
}

static int change_all(struct exchange *x, struct head *head, const struct header_changes *changes,
                      const struct change_facts *facts) {
    int status = 0;
    for (uint32_t i = 0; changes && i < changes->count; i++)
        status |= change(x, head, &changes->items[i], facts);
    return status;
}

static const struct header_changes *of_choice(const struct exchange *x, bool is_response) {
    return x->has_choice ? route_choice_changes(x->route, x->choice, is_response) : NULL;
}

int changes_of_request(struct exchange *x, struct head *head) {
    const struct header_changes *choice = of_choice(x, false);
    if (!x->route || (!x->route->request_changes.count && (!choice || !choice->count)))
        return 0;
    const struct change_facts facts = facts_of(x, NULL);
    return change_all(x, head, choice, &facts) | change_all(x, head, &x->route->request_changes, &facts);
}

int changes_of_response(struct exchange *x, struct head *head) {
    const struct header_changes *choice = x->route ? of_choice(x, true) : NULL;
    if (!x->route || !x->request.head || (!x->route->response_changes.count && (!choice || !choice->count)))
        return 0;
    const struct change_facts facts = facts_of(x, head);
    return change_all(x, head, choice, &facts) | change_all(x, head, &x->route->response_changes, &facts);
}
