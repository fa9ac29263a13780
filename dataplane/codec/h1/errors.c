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

enum abort_code h1_error_abort(enum h1_error error) {
    switch (h1_error_status(error)) {
    case 414: return ABORT_URI_TOO_LONG;
    case 417: return ABORT_EXPECTATION;
    case 431: return ABORT_HEADERS_TOO_LARGE;
    case 501: return ABORT_CODING_NOT_IMPLEMENTED;
    case 503: return ABORT_MEMORY;
    case 505: return ABORT_VERSION_NOT_SUPPORTED;
    default: return ABORT_CLIENT_PROTOCOL;
    }
}

unsigned h1_error_status(enum h1_error error) {
    return errors[error].status;
}
