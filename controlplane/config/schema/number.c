#include "controlplane/config/schema/number.h"

#include <inttypes.h>

struct unit {
    const char *name;
    uint64_t    factor;
};

/* From the largest to the smallest, as format_in looks for the first that divides. */
static const struct unit times[] = {
    {"d", 86400000000}, {"h", 3600000000}, {"m", 60000000}, {"s", 1000000}, {"ms", 1000}, {"us", 1},
};
static const struct unit sizes[] = {
    {"TiB", (uint64_t)1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1},
};

static int parse_in(const struct unit *units, size_t count, struct str text, uint64_t *ret) {
    struct str digits = {text.p, 0};
    while (digits.n < text.n && text.p[digits.n] >= '0' && text.p[digits.n] <= '9')
        digits.n++;
    struct str name = {text.p + digits.n, text.n - digits.n};
    uint64_t number, value;
    if (str_to_uint64(digits, &number) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (str_eq(name, str_of(units[i].name)) && !__builtin_mul_overflow(number, units[i].factor, &value)) {
            *ret = value;
            return 0;
        }
    return -1;
}

static void format_in(const struct unit *units, uint64_t value, struct strbuf *out) {
    while (value % units->factor)
        units++;
    strbuf_printf(out, "%" PRIu64 "%s", value / units->factor, units->name);
}

int duration_parse(struct str text, uint64_t *ret_microseconds) {
    if (str_eq(text, STR("0"))) {
        *ret_microseconds = 0;
        return 0;
    }
    return parse_in(times, sizeof times / sizeof *times, text, ret_microseconds);
}

void duration_format(uint64_t microseconds, struct strbuf *out) {
    if (microseconds)
        format_in(times, microseconds, out);
    else
        strbuf_puts(out, "0s");
}

int size_parse(struct str text, uint64_t *ret_bytes) {
    if (str_to_uint64(text, ret_bytes) == 0)
        return 0;
    return parse_in(sizes, sizeof sizes / sizeof *sizes, text, ret_bytes);
}

void size_format(uint64_t bytes, struct strbuf *out) {
    if (bytes)
        format_in(sizes, bytes, out);
    else
        strbuf_puts(out, "0B");
}
