#include "controlplane/config/schema/text_form.h"
#include "dataplane/routing/regex.h"

static const char *check_regex(struct arena *arena, struct str text, struct str *canonical) {
    (void)canonical;
    size_t offset = 0;
    char why[128];
    if (memchr(text.p, '\0', text.n))
        return "a NUL byte in the regular expression";
    struct regex *regex = regex_create(text, REGEX_WHOLE, &offset, why);
    if (regex) {
        regex_destroy(regex);
        return NULL;
    }
    if (!why[0])
        return text_no_memory;
    const char *message = arena_printf(arena, "the regular expression is wrong at offset %zu: %s", offset, why);
    return message ? message : text_no_memory;
}

const struct text_form text_regex = {"regex", "a regular expression of PCRE2", NULL, check_regex, NULL};

unsigned text_regex_groups(struct str text) {
    size_t offset;
    char why[128];
    struct regex *regex = regex_create(text, REGEX_PART, &offset, why);
    unsigned groups = regex ? regex_group_count(regex) : REGEX_GROUPS;
    regex_destroy(regex);
    return groups;
}
