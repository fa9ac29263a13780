#include "controlplane/discovery/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "common/log.h"

static const double QUIET_SECONDS = 0.1, LATEST_SECONDS = 1., POLL_SECONDS = 2.;

enum {
    EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB |
             IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR,
};

static void tell(struct watch *w) {
    ev_timer_stop(w->loop, &w->quiet);
    ev_timer_stop(w->loop, &w->latest);
    w->changed(w->owner);
}

static void on_timer(struct ev_loop *loop, ev_timer *timer, int events) {
    (void)loop;
    (void)events;
    tell(timer->data);
}

static void note_change(struct watch *w) {
    ev_timer_stop(w->loop, &w->quiet);
    ev_timer_set(&w->quiet, QUIET_SECONDS, 0.);
    ev_timer_start(w->loop, &w->quiet);
    if (!ev_is_active(&w->latest)) {
        ev_timer_set(&w->latest, LATEST_SECONDS, 0.);
        ev_timer_start(w->loop, &w->latest);
    }
}

/* Which event it was does not matter: the owner looks at everything again. */
static void on_events(struct ev_loop *loop, ev_io *io, int events) {
    char bytes[16384];
    bool is_any = false;
    (void)loop;
    (void)events;
    while (read(io->fd, bytes, sizeof bytes) > 0)
        is_any = true;
    if (is_any)
        note_change(io->data);
}

static void close_inotify(struct watch *w) {
    ev_io_stop(w->loop, &w->io);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

/* A fresh descriptor is simpler than taking single watches away. */
static void open_inotify(struct watch *w) {
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0)
        return;
    ev_io_set(&w->io, w->fd, EV_READ);
    ev_io_start(w->loop, &w->io);
}

/* Cuts the last part off the path: "a/b" -> "a", "a" -> ".", "/a" -> "/"; false when there is nothing left to cut. */
static bool cut_last_part(char *path) {
    char *slash = strrchr(path, '/');
    if (strcmp(path, "/") == 0 || strcmp(path, ".") == 0)
        return false;
    if (!slash)
        strcpy(path, ".");
    else if (slash == path)
        path[1] = '\0';
    else
        *slash = '\0';
    return true;
}

static bool add_directory(const struct watch *w, const char *directory) {
    char path[PATH_MAX];
    if (w->fd < 0 || snprintf(path, sizeof path, "%s", directory[0] ? directory : ".") >= (int)sizeof path)
        return false;
    while (inotify_add_watch(w->fd, path, EVENTS) < 0) {
        bool is_missing = errno == ENOENT || errno == ENOTDIR;
        if (!is_missing || !cut_last_part(path))
            return false;
    }
    return true;
}

void watch_init(struct watch *w, struct ev_loop *loop, void (*changed)(void *owner), void *owner) {
    *w = (struct watch){.loop = loop, .changed = changed, .owner = owner, .fd = -1};
    ev_init(&w->io, on_events);
    ev_timer_init(&w->quiet, on_timer, 0., 0.);
    ev_timer_init(&w->latest, on_timer, 0., 0.);
    ev_timer_init(&w->poll, on_timer, POLL_SECONDS, POLL_SECONDS);
    w->io.data = w->quiet.data = w->latest.data = w->poll.data = w;
}

void watch_set(struct watch *w, char *const *directories, size_t count) {
    bool is_all_watched = true;
    close_inotify(w);
    open_inotify(w);
    for (size_t i = 0; i < count; i++)
        if (!add_directory(w, directories[i]))
            is_all_watched = false;
    if (!is_all_watched && !ev_is_active(&w->poll))
        log_warning("not every directory can be watched: files are looked at every two seconds",
                    LOG_S("reason", strerror(errno)));
    if (is_all_watched)
        ev_timer_stop(w->loop, &w->poll);
    else
        ev_timer_start(w->loop, &w->poll);
}

void watch_finish(struct watch *w) {
    if (!w->loop)
        return;
    close_inotify(w);
    ev_timer_stop(w->loop, &w->quiet);
    ev_timer_stop(w->loop, &w->latest);
    ev_timer_stop(w->loop, &w->poll);
}
