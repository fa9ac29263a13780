/* secrets.h — how a definition finds the secrets that it names, and where it reports what is wrong with them.
 * Thread: main. */
#pragma once

#include <stdbool.h>

#include "common/error.h"
#include "proto/resource.h"

struct tls_secret {
    const Headgate__Secret *message;
    struct resource_id      id;
};

struct tls_secrets {
    /* False: there is none of that name. What it returns lives until the build ends. */
    bool (*find)(const void *arg, const char *name, struct tls_secret *ret);
    const void *arg;
};

/* The secret of the ticket keys. */
#define TLS_TICKET_SECRET "ticket-keys"

/* Where faults of a definition are reported. */
struct tls_place {
    const char        *resource;     /* "listener/web" */
    const char        *path;         /* "tls": put before the field's name */
    struct error_list *errors;
};

/* Adds a fault of the field. */
void tls_fault(const struct tls_place *place, const char *field, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void tls_memory_fault(const struct tls_place *place);
/* The same for the secret of this name. */
void tls_secret_fault(const struct tls_place *place, const char *secret, const char *field, enum error_code code,
                      const char *message);
/* Finds the secret that `field` names and checks its kind; a fault is added where there is none. */
bool tls_find_secret(const struct tls_secrets *secrets, const char *name, Headgate__Secret__KindCase kind,
                     const struct tls_place *place, const char *field, struct tls_secret *ret);
