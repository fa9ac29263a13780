#include "common/dumps.h"

#include <sys/prctl.h>

#include "common/sanitized.h"

int dumps_forbid(void) {
    return is_sanitized ? 0 : prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
