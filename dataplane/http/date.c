#include "dataplane/http/date.h"

#include <stdio.h>
#include <string.h>
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

/* ---- parsing ---- */

static bool month_of(const char *name, int *ret) {
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const char *at = strlen(name) == 3 ? strstr(names, name) : NULL;
    if (!at || (at - names) % 3)
        return false;
    *ret = (int)(at - names) / 3;
    return true;
}

/* A year of two digits is at most 50 years ahead. */
static int full_year(int year) {
    time_t now = time(NULL);
    struct tm t;
    gmtime_r(&now, &t);
    year += 2000;
    return year > t.tm_year + 1900 + 50 ? year - 100 : year;
}

static bool is_possible(const struct tm *t) {
    return t->tm_mday >= 1 && t->tm_mday <= 31 && t->tm_hour >= 0 && t->tm_hour < 24 && t->tm_min >= 0 && t->tm_min < 60 &&
           t->tm_sec >= 0 && t->tm_sec <= 60 && t->tm_year >= 0;
}

static bool reads_whole(struct str text, int count, int end) {
    return count == 6 && end >= 0 && (size_t)end == text.n;
}

bool date_parse(struct str text, int64_t *ret) {
    char copy[40], month[4] = "";
    struct tm t = {0};
    int *day = &t.tm_mday, *year = &t.tm_year, *hour = &t.tm_hour, *minute = &t.tm_min, *second = &t.tm_sec, end = -1, n;
    if (text.n >= sizeof copy)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    n = sscanf(copy, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", day, month, year, hour, minute, second, &end);
    bool is_whole = reads_whole(text, n, end);
    if (!is_whole) {
        end = -1;
        n = sscanf(copy, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", day, month, year, hour, minute, second, &end);
        is_whole = reads_whole(text, n, end);
        *year = full_year(*year);
    }
    if (!is_whole) {
        end = -1;
        n = sscanf(copy, "%*3[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, day, hour, minute, second, year, &end);
        is_whole = reads_whole(text, n, end);
    }
    *year -= 1900;
    if (!is_whole || !month_of(month, &t.tm_mon) || !is_possible(&t))
        return false;
    *ret = timegm(&t);
    return true;
}
