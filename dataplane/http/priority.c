#include "dataplane/http/priority.h"

static struct str without_parameters(struct str member) {
    const char *semicolon = member.n ? memchr(member.p, ';', member.n) : NULL;
    return semicolon ? (struct str){member.p, (size_t)(semicolon - member.p)} : member;
}

void priority_read(struct priority *priority, struct str value) {
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

void priority_read_fields(struct priority *priority, const struct fields *fields) {
    for (const struct field *f = NULL; (f = fields_next(fields, f, FIELD_PRIORITY));)
        priority_read(priority, field_value(f));
}

struct priority priority_of_update(struct str value) {
    struct priority said = {.urgency = PRIORITY_DEFAULT_URGENCY, .incremental = 0};
    priority_read(&said, value);
    return said;
}

struct priority_level priority_merge(const struct priority *client, const struct priority *origin) {
    int urgency = origin->urgency >= 0 ? origin->urgency : client->urgency;
    int incremental = origin->incremental >= 0 ? origin->incremental : client->incremental;
    return (struct priority_level){.urgency = urgency >= 0 ? (uint32_t)urgency : PRIORITY_DEFAULT_URGENCY,
                                   .incremental = incremental > 0};
}

void early_priorities_note(struct early_priorities *early, uint64_t id, struct priority said) {
    unsigned i = 0;
    while (i < early->count && early->list[i].id != id)
        i++;
    if (i == early->count)
        i = early->at++ % PRIORITY_EARLY_MOST;
    if (i >= early->count)
        early->count++;
    early->list[i].id = id;
    early->list[i].said = said;
}

struct priority early_priorities_find(const struct early_priorities *early, uint64_t id) {
    for (unsigned i = 0; i < early->count; i++)
        if (early->list[i].id == id)
            return early->list[i].said;
    return PRIORITY_UNSTATED;
}
