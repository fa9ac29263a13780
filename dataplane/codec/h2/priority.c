#include "dataplane/codec/h2/priority.h"

static struct str without_parameters(struct str member) {
    const char *semicolon = member.n ? memchr(member.p, ';', member.n) : NULL;
    return semicolon ? (struct str){member.p, (size_t)(semicolon - member.p)} : member;
}

void h2_priority_read(struct h2_priority *priority, struct str value) {
    struct str member;
    while (field_list_next(&value, &member)) {
        member = without_parameters(member);
        if (member.n == 3 && member.p[0] == 'u' && member.p[1] == '=' && member.p[2] >= '0' && member.p[2] <= '7')
            priority->urgency = (int8_t)(member.p[2] - '0');
        else if (str_eq(member, STR("i")) || str_eq(member, STR("i=?1")))
            priority->incremental = 1;
        else if (str_eq(member, STR("i=?0")))
            priority->incremental = 0;
    }
}

void h2_priority_read_fields(struct h2_priority *priority, const struct fields *fields) {
    for (const struct field *f = NULL; (f = fields_next(fields, f, FIELD_PRIORITY));)
        h2_priority_read(priority, field_value(f));
}

nghttp2_extpri h2_priority_merge(const struct h2_priority *client, const struct h2_priority *origin) {
    int urgency = origin->urgency >= 0 ? origin->urgency : client->urgency;
    int incremental = origin->incremental >= 0 ? origin->incremental : client->incremental;
    return (nghttp2_extpri){.urgency = urgency >= 0 ? (uint32_t)urgency : NGHTTP2_EXTPRI_DEFAULT_URGENCY,
                            .inc = incremental > 0};
}
