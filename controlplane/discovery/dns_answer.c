#include "controlplane/discovery/dns_answer.h"

#include <ares.h>
#include <limits.h>
#include <stdio.h>
#include <strings.h>

enum { HEADER = 12, QUESTION = 4, RECORD = 10, CLASS_IN = 1, ALIASES_MAX = 16 };

struct message {
    const uint8_t *bytes;
    size_t         size, at;
};

/* One record of the answer section, as it stands there. */
struct raw {
    const char *owner;
    unsigned    type, class;
    uint32_t    ttl;
    size_t      at, size;   /* of its data */
};

static unsigned number16(const struct message *m, size_t at) {
    return (unsigned)m->bytes[at] << 8 | m->bytes[at + 1];
}

/* A name at `at`, without its last dot. NULL: broken, or no memory. */
static const char *read_name(const struct message *m, size_t at, struct arena *arena, size_t *ret_size) {
    char *text;
    long size;
    if (at >= m->size || ares_expand_name(m->bytes + at, m->bytes, (int)m->size, &text, &size) != ARES_SUCCESS)
        return NULL;
    size_t n = strlen(text);
    if (n && text[n - 1] == '.')
        text[n - 1] = '\0';
    const char *copy = n < DNS_NAME_MAX ? arena_strdup(arena, text) : NULL;
    ares_free_string(text);
    *ret_size = (size_t)size;
    return copy;
}

static int skip_questions(struct message *m, struct arena *arena) {
    unsigned count = number16(m, 4);
    m->at = HEADER;
    for (unsigned i = 0; i < count; i++) {
        size_t size;
        if (!read_name(m, m->at, arena, &size))
            return -1;
        m->at += size + QUESTION;
    }
    return m->at <= m->size ? 0 : -1;
}

static int read_raw(struct message *m, struct arena *arena, struct raw *ret) {
    size_t size;
    ret->owner = read_name(m, m->at, arena, &size);
    if (!ret->owner || m->size - m->at < size + RECORD)
        return -1;
    size_t at = m->at + size;
    ret->type = number16(m, at);
    ret->class = number16(m, at + 2);
    ret->ttl = (uint32_t)number16(m, at + 4) << 16 | number16(m, at + 6);
    if (ret->ttl > INT32_MAX)
        ret->ttl = 0; /* RFC 2181 section 8 */
    ret->size = number16(m, at + 8);
    ret->at = at + RECORD;
    if (m->size - ret->at < ret->size)
        return -1;
    m->at = ret->at + ret->size;
    return 0;
}

/* ---- what is asked for ---- */

struct reading {
    struct message     message;
    struct raw        *raws;
    size_t             count;
    struct dns_answer *answer;
    struct arena       arena;   /* of all but the answer, which is kept and may be a small part of the message */
};

static bool is_of(const struct raw *r, const char *owner, unsigned type) {
    return r->type == type && r->class == CLASS_IN && strcasecmp(r->owner, owner) == 0;
}

static void lower_ttl(struct dns_answer *a, uint32_t ttl) {
    if (ttl < a->ttl)
        a->ttl = ttl;
}

/* The name at the end of the aliases; NULL: broken. */
static const char *follow_aliases(struct reading *r, const char *name) {
    for (int i = 0; i < ALIASES_MAX; i++) {
        size_t at = 0, size;
        while (at < r->count && !is_of(&r->raws[at], name, DNS_CNAME))
            at++;
        if (at == r->count)
            return name;
        lower_ttl(r->answer, r->raws[at].ttl);
        name = read_name(&r->message, r->raws[at].at, &r->arena, &size);
        if (!name)
            return NULL;
    }
    return NULL;
}

static int read_record(struct reading *r, const struct raw *raw, enum dns_type type, struct dns_record *ret) {
    size_t address_size = type == DNS_A ? 4 : 16, size;
    *ret = (struct dns_record){0};
    if (type != DNS_SRV) {
        if (raw->size != address_size)
            return -1;
        memcpy(ret->address, r->message.bytes + raw->at, address_size);
        return 0;
    }
    if (raw->size < 7)
        return -1;
    ret->priority = (uint16_t)number16(&r->message, raw->at);
    ret->weight = (uint16_t)number16(&r->message, raw->at + 2);
    ret->port = (uint16_t)number16(&r->message, raw->at + 4);
    ret->target = read_name(&r->message, raw->at + 6, &r->answer->arena, &size);
    return ret->target && size == raw->size - 6 ? 0 : -1;
}

static int read_records(struct reading *r, const char *owner, enum dns_type type) {
    struct dns_answer *a = r->answer;
    size_t wanted = 0;
    for (size_t i = 0; i < r->count; i++)
        wanted += is_of(&r->raws[i], owner, type);
    a->records = arena_calloc(&a->arena, wanted + 1, sizeof *a->records);
    if (!a->records)
        return -1;
    for (size_t i = 0; i < r->count; i++) {
        if (!is_of(&r->raws[i], owner, type))
            continue;
        if (read_record(r, &r->raws[i], type, &a->records[a->count]) < 0)
            return -1;
        lower_ttl(a, r->raws[i].ttl);
        a->count++;
    }
    return 0;
}

static int read_answer(struct reading *r, const char *name, enum dns_type type) {
    struct message *m = &r->message;
    struct arena *arena = &r->arena;
    if (m->size < HEADER || m->size > UINT16_MAX || skip_questions(m, arena) < 0)
        return -1;
    size_t count = number16(m, 6);
    r->raws = arena_calloc(arena, count + 1, sizeof *r->raws);
    if (!r->raws)
        return -1;
    for (; r->count < count; r->count++)
        if (read_raw(m, arena, &r->raws[r->count]) < 0)
            return -1;
    const char *owner = follow_aliases(r, name);
    return owner ? read_records(r, owner, type) : -1;
}

/* ---- all ---- */

void dns_answer_none(struct dns_answer *ret, enum dns_outcome outcome, const char *why) {
    *ret = (struct dns_answer){.outcome = outcome};
    snprintf(ret->why, sizeof ret->why, "%s", why);
}

void dns_answer_read(const uint8_t *bytes, size_t size, const char *name, enum dns_type type, struct dns_answer *ret) {
    struct dns_answer a = {.outcome = DNS_FOUND, .ttl = UINT32_MAX};
    struct reading r = {.message = {bytes, size, 0}, .answer = &a};
    int status = read_answer(&r, name, type);
    arena_finish(&r.arena);
    if (status == 0 && a.count) {
        *ret = a;
        return;
    }
    arena_finish(&a.arena);
    if (status < 0)
        dns_answer_none(ret, DNS_FAILED, "the answer cannot be read");
    else
        dns_answer_none(ret, DNS_NOTHING, "the name has no such records");
}

void dns_answer_finish(struct dns_answer *a) {
    arena_finish(&a->arena);
    *a = (struct dns_answer){0};
}
