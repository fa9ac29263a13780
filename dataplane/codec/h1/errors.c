#include "dataplane/codec/h1/parser.h"

static const struct {
    const char *word;
    unsigned    status;
} errors[H1_ERROR_COUNT] = {
#define X(code, status, word) [H1_##code] = {word, status},
    H1_ERRORS(X)
#undef X
};

const char *h1_error_word(enum h1_error error) {
    return errors[error].word;
}

unsigned h1_error_status(enum h1_error error) {
    return errors[error].status;
}
