#include "dataplane/codec/h1/upgrade.h"

#include "common/arena.h"
#include "dataplane/core/worker.h"

static bool is_websocket(struct str token) {
    return str_eq_nocase(token, STR("websocket"));
}

static bool is_one_token(struct str s) {
    return s.n && !memchr(s.p, ',', s.n) && !memchr(s.p, ' ', s.n);
}

void h1_upgrade_read(struct head *request, bool has_content, struct str *ret_key) {
    *ret_key = (struct str){NULL, 0};
    if (!request->upgrade.n)
        return;
    bool is_good = !has_content && is_one_token(request->upgrade) && request->method != METHOD_CONNECT;
    if (is_good && is_websocket(request->upgrade)) {
        const struct field *key = fields_find(&request->fields, FIELD_SEC_WEBSOCKET_KEY);
        is_good = key && key->value_len == WEBSOCKET_KEY_SIZE && request->method == METHOD_GET &&
                  !fields_next(&request->fields, key, FIELD_SEC_WEBSOCKET_KEY);
        if (is_good)
            *ret_key = field_value(key);
    }
    if (!is_good)
        request->upgrade = (struct str){NULL, 0};
    else if (ret_key->n)
        fields_remove(&request->fields, FIELD_SEC_WEBSOCKET_KEY);
}

int h1_upgrade_answer(struct head *head, struct arena *arena, struct str key) {
    char *text = key.n ? arena_alloc(arena, WEBSOCKET_ACCEPT_SIZE) : NULL;
    if (!key.n)
        return 0;
    if (!text || websocket_accept(key, text) < 0)
        return -1;
    return fields_add_id(&head->fields, arena, FIELD_SEC_WEBSOCKET_ACCEPT, (struct str){text, WEBSOCKET_ACCEPT_SIZE});
}

int h1_upgrade_ask(struct head *head, struct arena *arena, struct worker *w, struct str *ret_accept) {
    uint32_t random[4];
    *ret_accept = (struct str){NULL, 0};
    if (!is_websocket(head->upgrade))
        return 0;
    char *key = arena_alloc(arena, WEBSOCKET_KEY_SIZE), *accept = arena_alloc(arena, WEBSOCKET_ACCEPT_SIZE);
    if (!key || !accept)
        return -1;
    for (int i = 0; i < 4; i++)
        random[i] = worker_random(w);
    websocket_key((const unsigned char *)random, key);
    struct str text = {key, WEBSOCKET_KEY_SIZE};
    if (websocket_accept(text, accept) < 0)
        return -1;
    *ret_accept = (struct str){accept, WEBSOCKET_ACCEPT_SIZE};
    return fields_add_id(&head->fields, arena, FIELD_SEC_WEBSOCKET_KEY, text);
}

bool h1_upgrade_agreed(struct head *response, struct str asked, struct str accept) {
    if (!str_eq_nocase(response->upgrade, asked))
        return false;
    if (!accept.n)
        return true;
    const struct field *f = fields_find(&response->fields, FIELD_SEC_WEBSOCKET_ACCEPT);
    bool is_right = f && str_eq(field_value(f), accept) && !fields_next(&response->fields, f, FIELD_SEC_WEBSOCKET_ACCEPT);
    fields_remove(&response->fields, FIELD_SEC_WEBSOCKET_ACCEPT);
    return is_right;
}
