/* secrets.h — from what resources refer to by name to the secrets themselves.
 *
 * Private keys are held in secret memory, and cleared where they passed through other memory. No text that is made here
 * contains anything of one. Thread: one at a time. */
#pragma once

#include "common/file_stamp.h"
#include "common/map.h"
#include "controlplane/config/config.h"
#include "controlplane/secrets/files.h"

/* A file that came with a push instead of being read. */
struct secret_embedded {
    const char *name;           /* as the configuration names it, without "embedded:" */
    struct str  bytes;
};

enum { SECRET_CONTENT_SIZE = 32 };

/* The files of a secret as they were when it was made. */
struct secret_stamp {
    struct file_stamp files[SECRET_FILES_TOGETHER];
    bool              has_content;
    uint8_t           content[SECRET_CONTENT_SIZE]; /* of a pair: the hash of what was in them, or came with a push */
};

/* Of secrets about which nothing had to be said. A zeroed struct is a valid empty list. */
struct secret_stamps {
    struct map   by_name;       /* to struct secret_stamp */
    struct arena arena;
};

void secret_stamps_finish(struct secret_stamps *stamps);

struct secret_source {
    const struct secret_root     *root;
    const struct secret_embedded *embedded;
    size_t                        embedded_count;
    /* Secrets that there were, sorted: a secret whose content is the same keeps its bytes, and so its id. */
    const struct config_resources *previous;
    const struct config_resources *given;       /* what servers have given, sorted; NULL: nothing */
    const struct secret_stamps    *stamps;      /* of when those were made: what has not changed is not read; may be NULL */
    /* A secret that cannot be made now stays as it was in `previous`, where it is there: a warning, no error. */
    bool     keep_old;
    bool     trusts_absent;     /* what came with an earlier push, or is given, is taken for granted, and made empty */
    uint64_t now;               /* microseconds since 1970 */
};

/* Resources of KIND_SECRET, sorted by name; the bytes are secret memory. */
struct secret_set {
    struct config_resource *items;
    size_t                  count;
    uint64_t                next;       /* when the set should be made again though no file has changed; 0: never */
    uint64_t                expires;    /* when the first certificate does; 0: there is none */
    struct secret_stamps    stamps;
    struct arena            arena;      /* names */
};

/* Makes every secret of `want`. Errors and warnings carry the resource that names the secret, the path of the file there,
 * and a message with the name of the file. 0, or -1 after adding at least one error. `ret` is untouched on failure. */
int  secrets_make(const struct secret_source *source, const struct config_secrets *want, struct secret_set *ret,
                  struct error_list *errors, struct error_list *warnings);
void secret_set_finish(struct secret_set *set); /* a zeroed struct is allowed */

/* Whether making them would make `previous` again, as far as files tell; `due` is what secret_set.next was. */
bool secrets_are_current(const struct secret_source *source, const struct config_secrets *want, uint64_t due);
/* The file in which the system keeps its authorities, or the one that SSL_CERT_FILE names, as OpenSSL has it; NULL: none. */
const char *secrets_system_bundle(void);
/* Only whether they could be made, of files on this machine; `base` is the folder that names start at. */
int  secrets_check(const struct config_resources *set, const char *base, const struct config_places *places,
                   struct error_list *errors, struct error_list *warnings);
