/* Any header value and any key of a scope against a reading of them byte by byte.
 *
 * Lines: separator, assignment, name of the element, value. First byte: the number of the element. */
#include <stdio.h>
#include <stdlib.h>

#include "dataplane/routing/scopes.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { TEXT_MAX = 64 };

static void must(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static bool is_at(struct str value, size_t at, struct str text)
{
    return value.n - at >= text.n && memcmp(value.p + at, text.p, text.n) == 0;
}

/* The element that begins at `at`, as far as its separator. */
static struct str element_at(struct str value, size_t at, struct str separator)
{
    size_t end = at;
    while (end < value.n && (separator.n == 0 || !is_at(value, end, separator))) {
        end++;
    }
    return (struct str){value.p + at, end - at};
}

static bool expected(const Headgate__ScopeKeyPart *part, struct str value, struct str *ret)
{
    struct str separator = str_of(part->separator), assignment = str_of(part->assignment);
    struct str name = str_of(part->element ? part->element : "");
    size_t at = 0;
    for (uint32_t number = 0;; number++) {
        struct str element = element_at(value, at, separator);
        bool has_name = name.n > 0 && is_at(element, 0, name);
        if (name.n == 0 && number == part->index) {
            *ret = element;
            return true;
        }
        if (has_name && element.n == name.n) {
            *ret = STR("");
            return true;
        }
        if (has_name && is_at(element, name.n, assignment)) {
            size_t skipped = name.n + assignment.n;
            *ret = (struct str){element.p + skipped, element.n - skipped};
            return true;
        }
        at += element.n + separator.n;
        if (element.p + element.n == value.p + value.n) {
            return false;
        }
    }
}

static void check(const Headgate__ScopedRoutes *m, struct str value)
{
    struct arena arena = {0};
    struct error_list errors = {0};
    struct scope_table *table = scope_table_build(m, "l", &arena, &errors);
    must((table == NULL) == !error_list_is_empty(&errors), "a refusal without an error, or the other way round");
    if (table) {
        struct field field = {.name = "x", .name_len = 1, .value = value.p, .value_len = (uint32_t)value.n};
        struct fields fields = {.v = &field, .count = 1, .capacity = 1};
        struct route_request request = {.fields = &fields};
        struct str key[SCOPE_KEY_PARTS_MAX], wanted = STR("");
        size_t count = 0;
        bool has = scope_table_key(table, &request, key, &count), is_wanted = expected(m->key[0], value, &wanted);
        must(has == is_wanted, "a key that is there or not");
        must(!has || (count == 1 && str_eq(key[0], wanted)), "another key");
        scope_table_find(table, &request);
    }
    error_list_finish(&errors);
    arena_finish(&arena);
}

static void text_of(struct str line, char ret[TEXT_MAX])
{
    size_t n = line.n < TEXT_MAX ? line.n : TEXT_MAX - 1;
    if (n > 0) {
        memcpy(ret, line.p, n);
    }
    ret[n] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size < 1) {
        return 0;
    }
    Headgate__ScopedRoutes m = HEADGATE__SCOPED_ROUTES__INIT;
    Headgate__ScopeKeyPart part = HEADGATE__SCOPE_KEY_PART__INIT, *parts[] = {&part};
    Headgate__RouteScope scope = HEADGATE__ROUTE_SCOPE__INIT, *scopes[] = {&scope};
    struct str rest = {(const char *)bytes + 1, size - 1};
    char separator[TEXT_MAX], assignment[TEXT_MAX], name[TEXT_MAX], header[] = "x", *key[] = {separator};
    text_of(str_cut(&rest, '\n'), separator);
    text_of(str_cut(&rest, '\n'), assignment);
    text_of(str_cut(&rest, '\n'), name);
    part = (Headgate__ScopeKeyPart){PROTOBUF_C_MESSAGE_INIT(&headgate__scope_key_part__descriptor), .header = header,
                                    .separator = separator, .assignment = assignment, .has_index = name[0] == '\0',
                                    .index = bytes[0], .element = name[0] ? name : NULL};
    scope.key = key;
    scope.n_key = 1;
    m.key = parts;
    m.scopes = scopes;
    m.n_key = m.n_scopes = 1;
    check(&m, rest.p ? rest : STR(""));
    return 0;
}
