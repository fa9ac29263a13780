#include "dataplane/http/record.h"

#include <stdbool.h>

void record_add_uint(struct record *r, uint64_t value) {
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + value % 10);
    while (value /= 10);
    record_add(r, (struct str){digits + n, sizeof digits - n});
}

void record_add_seconds(struct record *r, uint64_t us) {
    uint64_t ms = us / 1000 % 1000;
    char fraction[4] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10)};
    record_add_uint(r, us / 1000000);
    record_add(r, (struct str){fraction, sizeof fraction});
}

static bool is_plain(char c) {
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

static void add_run_escaped(struct record *r, struct str s, const char *prefix) {
    static const char digits[] = "0123456789abcdef";
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_plain((char)c))
            continue;
        char code[2] = {digits[c >> 4], digits[c & 15]};
        record_add(r, (struct str){s.p + from, i - from});
        record_add(r, str_of(prefix));
        record_add(r, (struct str){code, 2});
        from = i + 1;
    }
    record_add(r, (struct str){s.p + from, s.n - from});
}

void record_add_json(struct record *r, struct str s) {
    record_add(r, STR("\""));
    add_run_escaped(r, s, "\\u00");
    record_add(r, STR("\""));
}

void record_add_escaped(struct record *r, struct str s) {
    add_run_escaped(r, s, "\\x");
}
