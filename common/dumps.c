#include "common/dumps.h"

#include <stdbool.h>
#include <sys/prctl.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
static const bool is_sanitized = true;
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif
#else
static const bool is_sanitized = false;
#endif

int dumps_forbid(void) {
    return is_sanitized ? 0 : prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
