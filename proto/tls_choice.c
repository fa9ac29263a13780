#include "proto/tls_choice.h"

#include <stdbool.h>
#include <string.h>

static const char *text_of(const char *text) {
    return text ? text : "";
}

static bool has(Headgate__MetadataEntry *const *metadata, size_t count, const Headgate__MetadataEntry *wanted) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(text_of(metadata[i]->key), text_of(wanted->key)) == 0)
            return strcmp(text_of(metadata[i]->value), text_of(wanted->value)) == 0;
    return false;
}

static bool fits(const Headgate__TlsChoice *choice, Headgate__MetadataEntry *const *metadata, size_t count) {
    for (size_t i = 0; i < choice->n_match; i++)
        if (!has(metadata, count, choice->match[i]))
            return false;
    return true;
}

size_t tls_choice_of(Headgate__TlsChoice *const *choices, size_t count, Headgate__MetadataEntry *const *metadata,
                     size_t metadata_count) {
    size_t i = 0;
    while (i < count && !fits(choices[i], metadata, metadata_count))
        i++;
    return i;
}
