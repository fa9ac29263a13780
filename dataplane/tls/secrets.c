#include "dataplane/tls/secrets.h"

#include <stdio.h>

void tls_fault(const struct tls_place *place, const char *field, enum error_code code, const char *format, ...) {
    struct strbuf message = {0};
    char path[128];
    va_list args;
    va_start(args, format);
    strbuf_vprintf(&message, format, args);
    va_end(args);
    snprintf(path, sizeof path, "%s.%s", place->path, field);
    struct error *e = message.failed ? error_addf(place->errors, ERROR_MEMORY, "out of memory")
                                     : error_addf(place->errors, code, "%s", message.p);
    error_set_resource(place->errors, e, place->resource, path);
    strbuf_finish(&message);
}

void tls_memory_fault(const struct tls_place *place) {
    struct error *e = error_addf(place->errors, ERROR_MEMORY, "out of memory");
    error_set_resource(place->errors, e, place->resource, place->path);
}

void tls_secret_fault(const struct tls_place *place, const char *secret, const char *field, enum error_code code,
                      const char *message) {
    char resource[RESOURCE_NAME_MAX + 32];
    snprintf(resource, sizeof resource, "%s/%s", kind_name(HEADGATE__KIND__KIND_SECRET), secret);
    error_set_resource(place->errors, error_addf(place->errors, code, "%s", message), resource, field);
}

bool tls_find_secret(const struct tls_secrets *secrets, const char *name, Headgate__Secret__KindCase kind,
                     const struct tls_place *place, const char *field, struct tls_secret *ret) {
    struct tls_secret found;
    if (!secrets->find(secrets->arg, name, &found)) {
        tls_fault(place, field, ERROR_REFERENCE, "there is no secret \"%s\"", name);
        return false;
    }
    if (found.message->kind_case != kind) {
        tls_fault(place, field, ERROR_TYPE, "the secret \"%s\" is not %s", name,
                  kind == HEADGATE__SECRET__KIND_KEY_PAIR ? "a certificate with its key"
                  : kind == HEADGATE__SECRET__KIND_TRUST  ? "a list of authorities"
                                                          : "a list of ticket keys");
        return false;
    }
    *ret = found;
    return true;
}
