#define PCRE2_CODE_UNIT_WIDTH 8
#include "dataplane/routing/regex.h"

#include <pcre2.h>

#include "common/alloc.h"

enum { JIT_STACK_MIN = 32 * 1024, JIT_STACK_MAX = 256 * 1024 };

struct regex {
    pcre2_code *code;
    unsigned    groups;
};

struct regex_scratch {
    pcre2_match_data    *match;
    pcre2_match_context *context;
    pcre2_jit_stack     *stack;
    uint32_t             found; /* groups of the last match that are set */
};

static void *give(size_t size, void *unused) {
    (void)unused;
    return hg_malloc(size);
}

static void take(void *block, void *unused) {
    (void)unused;
    hg_free(block);
}

static pcre2_code *compile(struct str pattern, enum regex_kind kind, pcre2_compile_context *context, int *ret_code,
                           size_t *ret_offset) {
    uint32_t options = PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    if (kind == REGEX_WHOLE)
        options |= PCRE2_ANCHORED | PCRE2_ENDANCHORED;
    pcre2_set_max_pattern_length(context, REGEX_PATTERN_MAX);
    return pcre2_compile((PCRE2_SPTR)(pattern.n ? pattern.p : ""), pattern.n, options, ret_code, ret_offset, context);
}

struct regex *regex_create(struct str pattern, enum regex_kind kind, size_t *ret_offset, char message[128]) {
    struct regex *regex = hg_calloc(1, sizeof *regex);
    pcre2_general_context *memory = pcre2_general_context_create(give, take, NULL);
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    int code = PCRE2_ERROR_NOMEMORY;
    size_t offset = 0;
    message[0] = '\0';
    if (regex && context)
        regex->code = compile(pattern, kind, context, &code, &offset);
    pcre2_compile_context_free(context);
    pcre2_general_context_free(memory);
    if (!regex || !regex->code) {
        if (code != PCRE2_ERROR_NOMEMORY && code != PCRE2_ERROR_HEAP_FAILED) {
            pcre2_get_error_message(code, (PCRE2_UCHAR *)message, 128);
            *ret_offset = offset;
        }
        hg_free(regex);
        return NULL;
    }
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); /* without it the interpreter does the work */
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    return regex;
}

void regex_destroy(struct regex *regex) {
    if (!regex)
        return;
    pcre2_code_free(regex->code);
    hg_free(regex);
}

unsigned regex_group_count(const struct regex *regex) {
    return regex->groups;
}

struct regex_scratch *regex_scratch_create(void) {
    struct regex_scratch *s = hg_calloc(1, sizeof *s);
    pcre2_general_context *memory = pcre2_general_context_create(give, take, NULL);
    if (s && memory) {
        s->match = pcre2_match_data_create(REGEX_GROUPS, memory);
        s->context = pcre2_match_context_create(memory);
        s->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, memory); /* NULL without JIT: not needed */
    }
    pcre2_general_context_free(memory);
    if (!s || !s->match || !s->context) {
        regex_scratch_destroy(s);
        return NULL;
    }
    pcre2_set_match_limit(s->context, REGEX_STEPS);
    pcre2_set_depth_limit(s->context, REGEX_DEPTH);
    pcre2_set_heap_limit(s->context, REGEX_HEAP_KIB);
    if (s->stack)
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    return s;
}

void regex_scratch_destroy(struct regex_scratch *s) {
    if (!s)
        return;
    pcre2_jit_stack_free(s->stack);
    pcre2_match_context_free(s->context);
    pcre2_match_data_free(s->match);
    hg_free(s);
}

enum regex_result regex_match(const struct regex *regex, struct str subject, size_t from, bool allow_empty,
                              struct regex_scratch *s) {
    uint32_t options = allow_empty ? 0 : PCRE2_NOTEMPTY_ATSTART;
    int found = pcre2_match(regex->code, (PCRE2_SPTR)(subject.n ? subject.p : ""), subject.n, from, options, s->match,
                            s->context);
    if (found == PCRE2_ERROR_NOMATCH)
        return REGEX_NO;
    if (found < 0)
        return REGEX_LIMIT; /* a bound, or no memory: not decided */
    s->found = found ? (uint32_t)found : REGEX_GROUPS;
    return REGEX_YES;
}

struct str regex_group(const struct regex_scratch *s, struct str subject, unsigned group) {
    const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(s->match);
    if (group >= s->found || offsets[2 * group] == PCRE2_UNSET || offsets[2 * group] > offsets[2 * group + 1])
        return (struct str){"", 0};
    return (struct str){subject.p + offsets[2 * group], offsets[2 * group + 1] - offsets[2 * group]};
}
