#include "dataplane/http/date.h"

#include <stdio.h>
#include <time.h>

struct cache {
    uint64_t          read_at;     /* worker clock */
    time_t            second;
    struct date_texts texts;
    char              http[32], iso[24], log[32];
};

static void format(struct cache *c) {
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm t;
    gmtime_r(&c->second, &t);
    int year = (t.tm_year + 1900) % 10000;
    c->texts.http = (struct str){c->http, (size_t)snprintf(c->http, sizeof c->http, "%s, %02d %s %04d %02d:%02d:%02d GMT",
                                                           days[t.tm_wday], t.tm_mday, months[t.tm_mon], year, t.tm_hour,
                                                           t.tm_min, t.tm_sec)};
    c->texts.iso = (struct str){c->iso, (size_t)snprintf(c->iso, sizeof c->iso, "%04d-%02d-%02dT%02d:%02d:%02d", year,
                                                         t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec)};
    c->texts.log = (struct str){c->log, (size_t)snprintf(c->log, sizeof c->log, "%02d/%s/%04d:%02d:%02d:%02d +0000",
                                                         t.tm_mday, months[t.tm_mon], year, t.tm_hour, t.tm_min, t.tm_sec)};
}

const struct date_texts *date_now(uint64_t now_us) {
    static _Thread_local struct cache cache;
    if (cache.read_at && now_us - cache.read_at < 1000)
        return &cache.texts;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    cache.read_at = now_us;
    cache.texts.ms = (unsigned)(now.tv_nsec / 1000000);
    if (now.tv_sec != cache.second || !cache.texts.http.p) {
        cache.second = now.tv_sec;
        format(&cache);
    }
    return &cache.texts;
}
