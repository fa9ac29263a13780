#include "dataplane/http/message.h"

#include "dataplane/routing/authority.h"

bool message_target_is_valid(struct str target) {
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= ' ' || target.p[i] > '~' || target.p[i] == '#')
            return false;
    return target.n > 0;
}

void message_split_target(struct head *head) {
    const char *question = memchr(head->target.p, '?', head->target.n);
    head->path = head->target;
    if (!question)
        return;
    head->has_query = true;
    head->path.n = (size_t)(question - head->target.p);
    head->query = (struct str){question + 1, head->target.n - head->path.n - 1};
}

int message_set_authority(struct head *head, struct str authority) {
    if (authority_parse((char *)(uintptr_t)authority.p, authority.n, &head->host, &head->port))
        return -1;
    head->authority = authority;
    struct field *host = head->seen & FIELD_BIT(FIELD_HOST) ? fields_find(&head->fields, FIELD_HOST) : NULL;
    if (host) {
        host->value = authority.p;
        host->value_len = (uint32_t)authority.n;
    }
    return 0;
}

int message_parse_length(struct str value, int64_t *ret) {
    uint64_t length;
    if (str_to_uint64(value, &length) || length > INT64_MAX)
        return -1;
    *ret = (int64_t)length;
    return 0;
}

void message_read_te(struct head *head) {
    for (struct field *f = NULL; (f = fields_next(&head->fields, f, FIELD_TE));) {
        struct str rest = field_value(f), member;
        while (field_list_next(&rest, &member))
            head->te_trailers |= str_eq_nocase(member, STR("trailers"));
    }
}

bool message_read_expect(struct head *head, bool has_content) {
    if (!str_eq_nocase(field_value(fields_find(&head->fields, FIELD_EXPECT)), STR("100-continue")))
        return false;
    head->expect_continue = has_content;
    return true;
}

bool message_clean_trailers(struct fields *trailers) {
    uint32_t kept = 0;
    bool is_harmless = true;
    for (uint32_t i = 0; i < trailers->count; i++) {
        enum field_id id = trailers->v[i].id;
        if (field_id_has(id, FIELD_BAD_TRAILER))
            is_harmless = false;
        if (!field_id_has(id, FIELD_BAD_TRAILER | FIELD_NO_TRAILER))
            trailers->v[kept++] = trailers->v[i];
    }
    trailers->count = kept;
    return is_harmless;
}
