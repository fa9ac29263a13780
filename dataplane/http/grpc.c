#include "dataplane/http/grpc.h"

#include "common/arena.h"

enum { DIGITS_MAX = 8 };
#define TIMEOUT_MAX (365ULL * 24 * 3600 * 1000000)

/* grpc/doc/statuscodes.md */
enum grpc_status { GRPC_UNKNOWN = 2, GRPC_DEADLINE_EXCEEDED = 4, GRPC_PERMISSION_DENIED = 7, GRPC_RESOURCE_EXHAUSTED = 8,
                   GRPC_UNIMPLEMENTED = 12, GRPC_INTERNAL = 13, GRPC_UNAVAILABLE = 14, GRPC_UNAUTHENTICATED = 16 };

bool grpc_is_request(const struct head *request) {
    const struct str type = STR("application/grpc");
    const struct field *f = fields_find(&request->fields, FIELD_CONTENT_TYPE);
    struct str value = f ? field_value(f) : (struct str){NULL, 0};
    if (value.n < type.n || !str_eq_nocase((struct str){value.p, type.n}, type))
        return false;
    return value.n == type.n || value.p[type.n] == '+' || value.p[type.n] == ';';
}

/* Microseconds of a unit of grpc-timeout; 0: there is no such unit. Nanoseconds are rounded up to one microsecond. */
static uint64_t unit(char c) {
    switch (c) {
    case 'H': return 3600ULL * 1000000;
    case 'M': return 60ULL * 1000000;
    case 'S': return 1000000;
    case 'm': return 1000;
    case 'u':
    case 'n': return 1;
    default: return 0;
    }
}

bool grpc_read_timeout(const struct head *request, uint64_t *ret) {
    const struct field *f = fields_find_name(&request->fields, STR("grpc-timeout"));
    struct str value = f ? field_value(f) : (struct str){NULL, 0};
    uint64_t number, scale = value.n > 1 ? unit(value.p[value.n - 1]) : 0;
    if (!scale || value.n - 1 > DIGITS_MAX || str_to_uint64((struct str){value.p, value.n - 1}, &number))
        return false;
    if (value.p[value.n - 1] == 'n')
        number = (number + 999) / 1000;
    *ret = number > TIMEOUT_MAX / scale ? TIMEOUT_MAX : number * scale;
    return true;
}

/* The table of grpc/doc/http-grpc-status-mapping.md, but for what we know better. */
static enum grpc_status status_of(enum abort_code code) {
    switch (code) {
    case ABORT_REQUEST_TIMEOUT: return GRPC_DEADLINE_EXCEEDED;
    case ABORT_BODY_TOO_LARGE:
    case ABORT_HEADERS_TOO_LARGE: return GRPC_RESOURCE_EXHAUSTED;
    default: break;
    }
    switch (abort_meaning(code)->status) {
    case 400:
    case 431: return GRPC_INTERNAL;
    case 401: return GRPC_UNAUTHENTICATED;
    case 403: return GRPC_PERMISSION_DENIED;
    case 404: return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504: return GRPC_UNAVAILABLE;
    default: return GRPC_UNKNOWN;
    }
}

int grpc_error(struct head *head, struct arena *arena, enum abort_code code, const char *message) {
    head_init(head);
    head->status = 200;
    char *number = arena_printf(arena, "%d", status_of(code));
    if (!number || fields_add_id(&head->fields, arena, FIELD_CONTENT_TYPE, STR("application/grpc")) < 0 ||
        fields_add(&head->fields, arena, STR("grpc-status"), str_of(number)) < 0)
        return -1;
    return fields_add(&head->fields, arena, STR("grpc-message"), str_of(message));
}
