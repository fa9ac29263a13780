/* What a peer's certificate must be: matchers of subject alternative names, and pins. */
#include "controlplane/config/schema/text_form.h"
#include "controlplane/xds/translate/routes.h"
#include "controlplane/xds/translate/tables.h"
#include "controlplane/xds/translate/tls.h"
#include "controlplane/xds/translate/values.h"

#define SAN_TYPE(name) ENVOY__EXTENSIONS__TRANSPORT_SOCKETS__TLS__V3__SUBJECT_ALT_NAME_MATCHER__SAN_TYPE__##name
#define PATTERN(name)  ENVOY__TYPE__MATCHER__V3__STRING_MATCHER__MATCH_PATTERN_##name
#define TYPE(name)     HEADGATE__NAME_MATCH__TYPE__##name

enum { NAMES_MAX = 100, NAME_MAX_BYTES = 4096, HOST_MAX = 255, TYPES = 4, PINS_MAX = 100, PIN_MAX_BYTES = 95 };

typedef Envoy__Type__Matcher__V3__StringMatcher string_matcher;

const struct xds_fields tls_read_name_matcher = XDS_TABLE(envoy__type__matcher__v3__string_matcher,
    XDS_READ("exact"), XDS_READ("prefix"), XDS_READ("suffix"), XDS_READ("contains"),
    XDS_INSIDE("safe_regex", &xds_read_regex), XDS_NOTE("ignore_case", "names of hosts have no case"));

const struct xds_fields tls_read_typed_name_matcher = XDS_TABLE(
    envoy__extensions__transport_sockets__tls__v3__subject_alt_name_matcher,
    XDS_NOTE("san_type", "DNS, URI, EMAIL, IP_ADDRESS"), XDS_INSIDE("matcher", &tls_read_name_matcher));

/* ---- the text of a matcher ---- */

/* Returns the text and its field's name, or NULL after an error. */
static const char *text_of(struct making *m, const struct xds_at *at, const string_matcher *matcher,
                           const char **ret_field) {
    const char *text = NULL;
    *ret_field = "exact";
    switch (matcher ? matcher->match_pattern_case : PATTERN(_NOT_SET)) {
    case PATTERN(EXACT): text = matcher->exact; break;
    case PATTERN(PREFIX): text = matcher->prefix, *ret_field = "prefix"; break;
    case PATTERN(SUFFIX): text = matcher->suffix, *ret_field = "suffix"; break;
    case PATTERN(CONTAINS): text = matcher->contains, *ret_field = "contains"; break;
    case PATTERN(SAFE_REGEX): text = matcher->safe_regex->regex, *ret_field = "safe_regex.regex"; break;
    default: making_refuse(m, at, ERROR_MISSING, "says nothing to compare with"); return NULL;
    }
    if (text[0])
        return text;
    making_refuse(m, XDS_AT(at, *ret_field), ERROR_MISSING, "is empty");
    return NULL;
}

static void set_text(Headgate__NameMatch *to, int pattern, char *text) {
    switch (pattern) {
    case PATTERN(PREFIX): to->prefix = text, to->kind_case = HEADGATE__NAME_MATCH__KIND_PREFIX; break;
    case PATTERN(SUFFIX): to->suffix = text, to->kind_case = HEADGATE__NAME_MATCH__KIND_SUFFIX; break;
    case PATTERN(CONTAINS): to->contains = text, to->kind_case = HEADGATE__NAME_MATCH__KIND_CONTAINS; break;
    case PATTERN(SAFE_REGEX): to->regex = text, to->kind_case = HEADGATE__NAME_MATCH__KIND_REGEX; break;
    default: to->exact = text, to->kind_case = HEADGATE__NAME_MATCH__KIND_EXACT;
    }
}

static void add_match(struct making *m, Headgate__NameMatch__Type type, const string_matcher *matcher, char *text,
                      struct tls_names *ret) {
    Headgate__NameMatch *to = making_new(m, &headgate__name_match__descriptor);
    if (!to)
        return;
    to->has_type = type != TYPE(DNS);
    to->type = type;
    to->has_ignore_case = to->ignore_case =
        matcher->ignore_case && type != TYPE(DNS) && matcher->match_pattern_case != PATTERN(SAFE_REGEX);
    set_text(to, (int)matcher->match_pattern_case, text);
    ret->matches[ret->match_count++] = to;
}

/* ---- plain names of hosts ---- */

static bool is_host(struct making *m, const char *text) {
    struct str ignored;
    return text[0] && strlen(text) <= HOST_MAX && value_fits(m, &text_dns_name, str_of(text), &ignored);
}

static bool is_plain(struct making *m, const string_matcher *matcher, int type) {
    bool is_exact = matcher && matcher->match_pattern_case == PATTERN(EXACT);
    return is_exact && (type == SAN_TYPE(DNS) || (type < 0 && is_host(m, matcher->exact)));
}

static void add_host(struct making *m, const struct xds_at *at, const string_matcher *matcher, struct tls_names *ret) {
    char *name = NULL;
    if (!matcher->exact[0])
        making_refuse(m, XDS_AT(at, "exact"), ERROR_MISSING, "is empty");
    value_text(m, XDS_AT(at, "exact"), matcher->exact, &text_dns_name, HOST_MAX, &name);
    for (size_t i = 0; name && i < ret->host_count; i++)
        if (strcmp(ret->hosts[i], name) == 0)
            return;
    if (name)
        ret->hosts[ret->host_count++] = name;
}

/* ---- the list ---- */

/* `type` of Envoy's, or -1: any. */
static void add(struct making *m, const struct xds_at *at, const string_matcher *matcher, int type, struct tls_names *ret) {
    static const int types[TYPES] = {SAN_TYPE(DNS), SAN_TYPE(URI), SAN_TYPE(EMAIL), SAN_TYPE(IP_ADDRESS)};
    static const Headgate__NameMatch__Type own[TYPES] = {TYPE(DNS), TYPE(URI), TYPE(EMAIL), TYPE(IP)};
    bool is_regex = matcher && matcher->match_pattern_case == PATTERN(SAFE_REGEX);
    const char *field, *text = text_of(m, at, matcher, &field);
    char *made = NULL;
    if (!text)
        return;
    value_text(m, XDS_AT(at, field), text, is_regex ? &text_regex : &text_any, NAME_MAX_BYTES, &made);
    for (size_t i = 0; made && i < TYPES; i++)
        if (type < 0 || type == types[i])
            add_match(m, own[i], matcher, made, ret);
}

struct source {
    const struct xds_at *at;
    const TLS_MESSAGE(CertificateValidationContext) *rules;
    bool   is_typed;
    size_t count;
};

static const string_matcher *matcher_of(const struct source *s, size_t i, int *ret_type) {
    *ret_type = s->is_typed ? (int)s->rules->match_typed_subject_alt_names[i]->san_type : -1;
    return s->is_typed ? s->rules->match_typed_subject_alt_names[i]->matcher : s->rules->match_subject_alt_names[i];
}

static void take(struct making *m, const struct source *s, bool are_plain, struct tls_names *ret) {
    const char *field = s->is_typed ? "match_typed_subject_alt_names" : "match_subject_alt_names";
    for (size_t i = 0; i < s->count; i++) {
        int type;
        const string_matcher *matcher = matcher_of(s, i, &type);
        const struct xds_at *item = XDS_AT_ITEM(s->at, field, i), *at = s->is_typed ? XDS_AT(item, "matcher") : item;
        if (type == SAN_TYPE(SAN_TYPE_UNSPECIFIED) || type == SAN_TYPE(OTHER_NAME) || type > SAN_TYPE(OTHER_NAME))
            making_unsupported(m, XDS_AT(item, "san_type"), "only DNS, URI, EMAIL and IP_ADDRESS are");
        else if (are_plain)
            add_host(m, at, matcher, ret);
        else
            add(m, at, matcher, type, ret);
    }
}

void tls_take_names(struct making *m, const struct xds_at *at, const TLS_MESSAGE(CertificateValidationContext) *rules,
                    bool has_hosts, struct tls_names *ret) {
    size_t typed = rules->n_match_typed_subject_alt_names;
    struct source s = {at, rules, typed > 0, typed ? typed : rules->n_match_subject_alt_names};
    bool are_plain = has_hosts;
    for (size_t i = 0; i < s.count; i++) {
        int type;
        const string_matcher *matcher = matcher_of(&s, i, &type);
        are_plain = are_plain && is_plain(m, matcher, type);
    }
    size_t most = s.is_typed || are_plain ? NAMES_MAX : NAMES_MAX / TYPES;
    if (s.count > most) {
        making_refuse(m, at, ERROR_RANGE, "has %zu names; %zu are possible", s.count, most);
        return;
    }
    ret->hosts = making_array(m, s.count, sizeof *ret->hosts);
    ret->matches = making_array(m, s.count * TYPES, sizeof *ret->matches);
    if (ret->hosts && ret->matches)
        take(m, &s, are_plain, ret);
}

/* ---- pins ---- */

/* What stands there twice counts once. */
static void take_pins(struct making *m, const struct xds_at *at, const char *field, char *const *from, size_t count,
                      const struct text_form *form, char ***ret, size_t *ret_count) {
    char **items = making_array(m, count, sizeof *items);
    if (count > PINS_MAX)
        making_refuse(m, XDS_AT(at, field), ERROR_RANGE, "has %zu items; %d are possible", count, PINS_MAX);
    for (size_t i = 0; items && count <= PINS_MAX && i < count; i++) {
        char *pin = NULL;
        size_t k = 0;
        if (!from[i][0])
            making_refuse(m, XDS_AT_ITEM(at, field, i), ERROR_MISSING, "is empty");
        value_text(m, XDS_AT_ITEM(at, field, i), from[i], form, PIN_MAX_BYTES, &pin);
        while (pin && k < *ret_count && strcmp(items[k], pin) != 0)
            k++;
        if (pin && k == *ret_count)
            items[(*ret_count)++] = pin;
    }
    *ret = items;
}

Headgate__CertificatePins *tls_take_pins(struct making *m, const struct xds_at *at,
                                         const TLS_MESSAGE(CertificateValidationContext) *rules) {
    bool is_there = rules->n_verify_certificate_hash || rules->n_verify_certificate_spki;
    Headgate__CertificatePins *to = is_there ? making_new(m, &headgate__certificate_pins__descriptor) : NULL;
    if (!to)
        return NULL;
    take_pins(m, at, "verify_certificate_hash", rules->verify_certificate_hash, rules->n_verify_certificate_hash,
              &text_certificate_hash, &to->certificates, &to->n_certificates);
    take_pins(m, at, "verify_certificate_spki", rules->verify_certificate_spki, rules->n_verify_certificate_spki,
              &text_key_hash, &to->keys, &to->n_keys);
    return to;
}
