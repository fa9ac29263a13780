#include "controlplane/xds/translate/values.h"

#include <inttypes.h>

#include "controlplane/config/schema/number.h"
#include "controlplane/xds/translate/tables.h"

enum { NANOSECONDS = 1000000000 };

const struct xds_fields xds_read_percent = XDS_TABLE(envoy__type__v3__percent, XDS_READ("value"));

/* ---- durations ---- */

static void refuse_duration(struct making *m, const struct xds_at *at, uint64_t found, uint64_t min, uint64_t max) {
    struct strbuf texts[3] = {{0}, {0}, {0}};
    duration_format(found, &texts[0]);
    duration_format(min, &texts[1]);
    duration_format(max, &texts[2]);
    making_refuse(m, at, ERROR_RANGE, "is %s; %s to %s are possible", strbuf_str(&texts[0]).p, strbuf_str(&texts[1]).p,
                  strbuf_str(&texts[2]).p);
    for (int i = 0; i < 3; i++)
        strbuf_finish(&texts[i]);
}

void value_duration(struct making *m, const struct xds_at *at, const Google__Protobuf__Duration *d, uint64_t min,
                    uint64_t max, protobuf_c_boolean *has, uint64_t *ret) {
    if (!d)
        return;
    bool is_sound = d->seconds >= 0 && d->seconds <= INT32_MAX && d->nanos >= 0 && d->nanos < NANOSECONDS;
    if (!is_sound) {
        making_refuse(m, at, ERROR_RANGE, "is not a duration that is possible here");
        return;
    }
    uint64_t found = (uint64_t)d->seconds * XDS_SEC + ((uint64_t)d->nanos + 999) / 1000;
    if (found < min || found > max) {
        refuse_duration(m, at, found, min, max);
        return;
    }
    *has = true;
    *ret = found;
}

/* ---- numbers ---- */

void value_number(struct making *m, const struct xds_at *at, uint64_t number, uint64_t min, uint64_t max,
                  protobuf_c_boolean *has, uint32_t *ret) {
    if (number < min || number > max) {
        making_refuse(m, at, ERROR_RANGE, "is %" PRIu64 "; %" PRIu64 " to %" PRIu64 " are possible", number, min, max);
        return;
    }
    *has = true;
    *ret = (uint32_t)number;
}

void value_uint32(struct making *m, const struct xds_at *at, const Google__Protobuf__UInt32Value *v, uint64_t min,
                  uint64_t max, protobuf_c_boolean *has, uint32_t *ret) {
    if (v)
        value_number(m, at, v->value, min, max, has, ret);
}

void value_uint64(struct making *m, const struct xds_at *at, const Google__Protobuf__UInt64Value *v, uint64_t min,
                  uint64_t max, protobuf_c_boolean *has, uint64_t *ret) {
    if (!v)
        return;
    if (v->value < min || v->value > max) {
        making_refuse(m, at, ERROR_RANGE, "is %" PRIu64 "; %" PRIu64 " to %" PRIu64 " are possible", v->value, min, max);
        return;
    }
    *has = true;
    *ret = v->value;
}

void value_percent(struct making *m, const struct xds_at *at, const Envoy__Type__V3__Percent *p, uint32_t min,
                   protobuf_c_boolean *has, uint32_t *ret) {
    if (!p)
        return;
    bool is_possible = p->value >= min && p->value <= 100;
    uint32_t whole = is_possible ? (uint32_t)p->value : 0;
    if (!is_possible || (double)whole != p->value) {
        making_refuse(m, at, ERROR_RANGE, "is %g percent; whole numbers of %u to 100 are possible", p->value, min);
        return;
    }
    *has = true;
    *ret = whole;
}

/* ---- texts ---- */

bool value_fits(struct making *m, const struct text_form *form, struct str text, struct str *canonical) {
    struct str own = text;
    const char *fault = form->check(&m->arena, text, &own);
    if (fault == text_no_memory)
        making_out_of_memory(m);
    if (!fault)
        *canonical = own;
    return !fault;
}

void value_text(struct making *m, const struct xds_at *at, const char *text, const struct text_form *form, size_t max,
                char **ret) {
    struct str found = str_of(text), canonical = found;
    if (!found.n)
        return;
    if (found.n > max) {
        making_refuse(m, at, ERROR_RANGE, "has %zu bytes; %zu are possible", found.n, max);
        return;
    }
    const char *fault = form->check(&m->arena, found, &canonical);
    if (fault) {
        making_refuse(m, at, ERROR_SYNTAX, "is \"%s\": %s", text, fault);
        return;
    }
    char *copy = making_text(m, canonical);
    if (copy)
        *ret = copy;
}
