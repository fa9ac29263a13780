#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "controlplane/config/text_form.h"

enum { REGEX_MAX = 4096 };

static pcre2_code *compile(struct str regex, int *ret_error, size_t *ret_offset) {
    uint32_t flags = PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_NEVER_BACKSLASH_C;
    return pcre2_compile((PCRE2_SPTR)regex.p, regex.n, flags, ret_error, ret_offset, NULL);
}

static const char *check_regex(struct arena *arena, struct str text, struct str *canonical) {
    (void)canonical;
    int error;
    size_t offset;
    PCRE2_UCHAR why[128];
    if (memchr(text.p, '\0', text.n))
        return "a NUL byte in the regular expression";
    if (text.n > REGEX_MAX)
        return "the regular expression is longer than 4096 bytes";
    pcre2_code *code = compile(text, &error, &offset);
    if (code) {
        pcre2_code_free(code);
        return NULL;
    }
    if (pcre2_get_error_message(error, why, sizeof why) < 0)
        why[0] = '\0';
    const char *message = arena_printf(arena, "the regular expression is wrong at offset %zu: %s", offset,
                                       (const char *)why);
    return message ? message : "the regular expression is wrong";
}

const struct text_form text_regex = {"regex", "a regular expression of PCRE2", NULL, check_regex};

unsigned text_regex_groups(struct str regex) {
    int error;
    size_t offset;
    uint32_t groups = 0;
    pcre2_code *code = compile(regex, &error, &offset);
    if (code)
        pcre2_pattern_info(code, PCRE2_INFO_CAPTURECOUNT, &groups);
    pcre2_code_free(code);
    return groups;
}
