/* load.h — the content of one secret from its files; between secrets.c and the rest. Thread: one at a time. */
#pragma once

#include "controlplane/secrets/certificate.h"
#include "controlplane/secrets/secrets.h"

/* One secret in the making. */
struct loaded {
    const struct config_secret *want;
    Headgate__Secret            message;    /* without salt */
    Headgate__KeyPair           pair;       /* of a key pair: what message.key_pair is */
    struct certificate_facts    facts;      /* of a key pair */
    Headgate__Trust             trust;
    Headgate__TicketKeys        tickets;
    /* Of a pair: what the secret was, and, when it was made without a complaint, the hash of the files that it was made of.
     * What is the same is not checked again. NULL: not known. */
    const struct config_resource *previous;
    const struct secret_stamp    *known;
    bool                          has_content;
    uint8_t                       content[SECRET_CONTENT_SIZE];
};

struct loading {
    const struct secret_source *source;
    struct arena               *arena;      /* of the messages */
    struct error_list          *errors, *warnings;
};

/* Fills l->message. 0, or -1 after adding an error. */
int load_pair(struct loading *loading, struct loaded *l);
int load_trust(struct loading *loading, struct loaded *l);
int load_system_trust(struct loading *loading, struct loaded *l);
/* The same from texts: PEM, and a DER response. Times are not looked at when l->want is given. */
int load_pair_text(struct loading *loading, struct loaded *l, const struct str files[3]);
int load_trust_text(struct loading *loading, struct loaded *l, struct str text);
/* What a server has given; l->content is its id. */
int load_given(struct loading *loading, struct loaded *l);
/* Packs with the salt of `previous` (may be NULL) when that makes its bytes, otherwise with a new one, into secret memory:
 * r->bytes and r->size. 0, or -1 without memory. */
int secret_encode(Headgate__Secret *message, const struct config_resource *previous, struct config_resource *r);
/* The keys of `previous`, with a new one in front when it is time; *ret_next is when the next one is due. */
int load_tickets(struct loading *loading, struct loaded *l, const struct config_secrets *want, uint64_t *ret_next);
/* What the secret was before, when it cannot be made now. 0, or -1 without memory. */
int load_previous(struct loading *loading, struct loaded *l, const struct config_resource *previous);
/* Whether a pair, and the response that is stapled with it, are of now. */
bool load_is_current(const struct loaded *l, uint64_t now);
/* Overwrites every key in the message; the rest stays. */
void secret_message_clear(Headgate__Secret *m);

/* Adds an error at the file of that key ("certificate", "key", "ocsp", "ca"; "" for the secret as a whole). */
void load_fault(struct loading *loading, const struct config_secret *want, const char *key, enum error_code code,
                const char *format, ...) __attribute__((format(printf, 5, 6)));
