#include "dataplane/routing/changes.h"

#include "dataplane/http/fields.h"

enum command {
    COMMAND_TEXT,
    COMMAND_REQUEST_FIELD,
    COMMAND_RESPONSE_FIELD,
    COMMAND_RESPONSE_CODE,
    COMMAND_PROTOCOL,
    COMMAND_CLIENT,
    COMMAND_PEER,
    COMMAND_ROUTE,
    COMMAND_CLUSTER,
};

struct change_piece {
    enum command command;
    struct str   text;               /* a literal, or the name of a field */
    struct str   other;              /* the name of another one; empty: none */
    size_t       most;               /* bytes */
};

/* ---- building ---- */

static const struct {
    const char  *name;
    enum command command;
    bool         has_field, is_of_response;
} commands[] = {
    {"REQ", COMMAND_REQUEST_FIELD, true, false},
    {"RESP", COMMAND_RESPONSE_FIELD, true, true},
    {"RESPONSE_CODE", COMMAND_RESPONSE_CODE, false, true},
    {"PROTOCOL", COMMAND_PROTOCOL, false, false},
    {"DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", COMMAND_CLIENT, false, false},
    {"DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", COMMAND_PEER, false, false},
    {"ROUTE_NAME", COMMAND_ROUTE, false, false},
    {"UPSTREAM_CLUSTER", COMMAND_CLUSTER, false, false},
};

static struct str lower(struct arena *arena, struct str s) {
    char *copy = (char *)(uintptr_t)arena_str(arena, s).p;
    for (size_t i = 0; copy && i < s.n; i++)
        copy[i] = copy[i] >= 'A' && copy[i] <= 'Z' ? (char)(copy[i] | 0x20) : copy[i];
    return (struct str){copy, copy ? s.n : 0};
}

static bool is_pseudo(struct str name) {
    return str_eq(name, STR(":method")) || str_eq(name, STR(":authority")) || str_eq(name, STR(":scheme")) ||
           str_eq(name, STR(":path"));
}

static bool is_field(struct str name, bool is_of_response) {
    return field_name_is_valid(name) || (!is_of_response && is_pseudo(name));
}

/* "(NAME?OTHER):N" */
static const char *read_field(struct arena *arena, struct str rest, bool is_of_response, struct change_piece *piece) {
    const char *close = rest.n && rest.p[0] == '(' ? memchr(rest.p, ')', rest.n) : NULL;
    uint64_t most;
    if (!close)
        return "a command for a field needs its name: %REQ(name)%";
    struct str names = lower(arena, (struct str){rest.p + 1, (size_t)(close - rest.p) - 1});
    struct str length = {close + 1, rest.n - (size_t)(close - rest.p) - 1};
    if (!names.p)
        return "out of memory";
    piece->text = str_cut(&names, '?');
    piece->other = names.p ? names : (struct str){"", 0};
    if (!is_field(piece->text, is_of_response) || (names.p && !is_field(names, is_of_response)))
        return "a command has something in brackets that is no name of a field";
    if (length.n == 0)
        return NULL;
    if (length.p[0] != ':' || str_to_uint64((struct str){length.p + 1, length.n - 1}, &most) < 0 || most == 0)
        return "a length behind a command is a number of bytes: %REQ(name):64%";
    piece->most = most < SIZE_MAX ? (size_t)most : SIZE_MAX;
    return NULL;
}

static const char *read_command(struct arena *arena, struct str text, bool is_response, struct change_piece *piece) {
    size_t n = 0;
    while (n < text.n && text.p[n] != '(' && text.p[n] != ':')
        n++;
    struct str name = {text.p, n}, rest = {text.p + n, text.n - n};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!str_eq(name, str_of(commands[i].name)))
            continue;
        *piece = (struct change_piece){.command = commands[i].command, .most = SIZE_MAX};
        if (commands[i].is_of_response && !is_response)
            return "when the request is changed there is no response yet";
        if (commands[i].has_field)
            return read_field(arena, rest, commands[i].is_of_response, piece);
        return rest.n ? "only commands for fields have brackets" : NULL;
    }
    return "the value has a command that is not known here";
}

static struct change_piece literal(const char *p, size_t n) {
    return (struct change_piece){.command = COMMAND_TEXT, .text = {p, n}, .most = SIZE_MAX};
}

/* At most as many pieces as there are percent signs, and one more. */
static const char *cut_up(struct arena *arena, const char *text, bool is_response, struct change_piece *pieces,
                          uint32_t *count) {
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, "%");
        if (n) {
            pieces[(*count)++] = literal(at, n);
            at += n;
            continue;
        }
        const char *end = strchr(at + 1, '%');
        if (!end)
            return "a percent sign is written %%";
        if (end == at + 1) {
            pieces[(*count)++] = literal(at, 1);
        } else {
            const char *bad = read_command(arena, (struct str){at + 1, (size_t)(end - at) - 1}, is_response,
                                           &pieces[(*count)++]);
            if (bad)
                return bad;
        }
        at = end + 1;
    }
    return NULL;
}

const char *header_change_build(struct arena *arena, const Headgate__HeaderChange *m, bool is_response,
                                struct header_change *ret) {
    struct header_change c = {.name = str_of(m->name), .action = m->action, .keep_empty = m->keep_empty};
    const char *value = m->value ? m->value : "";
    size_t most = 1;
    for (const char *p = value; *p; p++)
        most += 1 + (*p == '%');
    struct change_piece *pieces = arena_calloc(arena, most, sizeof *pieces);
    if (!pieces)
        return "out of memory";
    const char *bad = cut_up(arena, value, is_response, pieces, &c.piece_count);
    c.pieces = pieces;
    if (!bad)
        *ret = c;
    return bad;
}

/* ---- values ---- */

static struct str pseudo_value(const struct change_facts *f, struct str name) {
    return name.p[1] == 'm' ? f->method : name.p[1] == 'a' ? f->authority : name.p[1] == 's' ? f->scheme : f->target;
}

/* All fields of that name, joined with "," as Envoy does; an empty name has none. False: there is none. */
static bool find_value(const struct change_facts *facts, const struct fields *fields, struct str name, struct arena *arena,
                       struct str *ret) {
    const struct field *f = fields && name.n ? fields_find_name(fields, name) : NULL;
    if (name.n && name.p[0] == ':') {
        *ret = pseudo_value(facts, name);
        return ret->n > 0;
    }
    if (!f)
        return false;
    *ret = field_value(f);
    while (ret->p && (f = fields_next_name(fields, f, name))) {
        char *joined = arena_printf(arena, "%.*s,%.*s", STR_FMT(*ret), STR_FMT(field_value(f)));
        *ret = (struct str){joined, joined ? ret->n + 1 + f->value_len : 0};
    }
    return true;
}

static struct str field_of(const struct change_piece *piece, const struct change_facts *facts, const struct fields *fields,
                           struct arena *arena) {
    struct str value = {"", 0};
    if (!find_value(facts, fields, piece->text, arena, &value))
        find_value(facts, fields, piece->other, arena, &value);
    return value;
}

static struct str piece_value(const struct change_piece *piece, const struct change_facts *f, struct arena *arena) {
    switch (piece->command) {
    case COMMAND_TEXT: return piece->text;
    case COMMAND_REQUEST_FIELD: return field_of(piece, f, f->request, arena);
    case COMMAND_RESPONSE_FIELD: return field_of(piece, f, f->response, arena);
    case COMMAND_RESPONSE_CODE: return f->status ? str_of(arena_printf(arena, "%u", f->status)) : (struct str){"", 0};
    case COMMAND_PROTOCOL: return f->protocol;
    case COMMAND_CLIENT: return f->client;
    case COMMAND_PEER: return f->peer;
    case COMMAND_ROUTE: return f->route;
    case COMMAND_CLUSTER: return f->cluster;
    }
    return (struct str){"", 0};
}

int header_change_value(const struct header_change *c, const struct change_facts *facts, struct arena *arena,
                        struct str *ret) {
    struct str value = {"", 0};
    for (uint32_t i = 0; i < c->piece_count; i++) {
        struct str part = piece_value(&c->pieces[i], facts, arena);
        part.n = part.n < c->pieces[i].most ? part.n : c->pieces[i].most;
        if (value.n == 0 || part.n == 0) {
            value = value.n ? value : part;
            continue;
        }
        char *joined = arena_alloc(arena, value.n + part.n);
        if (!joined)
            return -1;
        str_put(str_put(joined, value), part);
        value = (struct str){joined, value.n + part.n};
    }
    *ret = str_trim(value);
    return 0;
}
