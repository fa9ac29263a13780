#include "dataplane/holder/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: headgate-holder --dataplane PATH [options]\n"
    "\n"
    "Binds listening sockets, runs the data plane without privileges, and restarts it after a crash.\n"
    "\n"
    "  --dataplane PATH       the headgate-dataplane program\n"
    "  --control-plane ADDR   unix:PATH, IPV4:PORT or [IPV6]:PORT (unix:RUNTIME_DIR/dataplane.sock)\n"
    "  --state-dir DIR        where the last-known-good copy is kept ($HEADGATE_STATE_DIR or /var/lib/headgate)\n"
    "  --runtime-dir DIR      where sockets are ($HEADGATE_RUNTIME_DIR or /run/headgate)\n"
    "  --user NAME            who the data plane runs as, when started as root (headgate, or nobody)\n"
    "  --node NAME            the data plane's name (the host's)\n"
    "  --workers N            threads that serve traffic (one per CPU)\n"
    "  --admin-listen ADDR    metrics and probes (127.0.0.1:9901)\n"
    "  --version, --help\n"
    "\n"
    "Signals: TERM drains and ends, HUP and USR1 (reopen logs) are passed on.\n";

enum { OPTION_RUNTIME_DIR = 256, OPTION_CONTROL_PLANE, OPTION_VERSION };

static const struct option long_options[] = {
    {"dataplane", required_argument, NULL, 'd'},
    {"control-plane", required_argument, NULL, OPTION_CONTROL_PLANE},
    {"state-dir", required_argument, NULL, 's'},
    {"runtime-dir", required_argument, NULL, OPTION_RUNTIME_DIR},
    {"user", required_argument, NULL, 'u'},
    {"node", required_argument, NULL, 'n'},
    {"workers", required_argument, NULL, 'w'},
    {"admin-listen", required_argument, NULL, 'a'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static const char *from_environment(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

static const char **text_of(struct holder_options *o, int option) {
    switch (option) {
    case 'd': return &o->dataplane;
    case 's': return &o->state_dir;
    case 'u': return &o->user;
    case 'n': return &o->node;
    case 'w': return &o->workers;
    case 'a': return &o->admin_listen;
    default: return NULL;
    }
}

static enum options_result wrong(const char *what, const char *value) {
    fprintf(stderr, "headgate-holder: %s%s\n", what, value);
    return OPTIONS_EXIT_USAGE;
}

static int default_control_plane(const char *runtime_dir, struct address *ret) {
    char text[ADDRESS_TEXT_MAX * 2];
    int n = snprintf(text, sizeof text, "unix:%s/dataplane.sock", runtime_dir);
    return n < (int)sizeof text ? address_parse(str_of(text), ret) : -1;
}

static enum options_result check(struct holder_options *o, const char *control_plane, const char *runtime_dir) {
    uint64_t workers;
    struct address ignored;
    if (!o->dataplane)
        return wrong("--dataplane is required; try --help", "");
    if (control_plane ? address_parse(str_of(control_plane), &o->control_plane) < 0
                      : default_control_plane(runtime_dir, &o->control_plane) < 0)
        return wrong("not an address that can be connected to: ", control_plane ? control_plane : runtime_dir);
    if (o->workers && (str_to_uint64(str_of(o->workers), &workers) < 0 || workers < 1 || workers > 128))
        return wrong("--workers is a number from 1 to 128, not ", o->workers);
    if (o->admin_listen && address_parse(str_of(o->admin_listen), &ignored) < 0)
        return wrong("not an address that can be listened on: ", o->admin_listen);
    return OPTIONS_RUN;
}

enum options_result holder_options_parse(int argc, char **argv, struct holder_options *ret) {
    struct holder_options o = {.state_dir = from_environment("HEADGATE_STATE_DIR", "/var/lib/headgate")};
    const char *runtime_dir = from_environment("HEADGATE_RUNTIME_DIR", "/run/headgate"), *control_plane = NULL;
    int option;
    optind = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        const char **text = text_of(&o, option);
        if (text)
            *text = optarg;
        else if (option == OPTION_CONTROL_PLANE)
            control_plane = optarg;
        else if (option == OPTION_RUNTIME_DIR)
            runtime_dir = optarg;
        else if (option == OPTION_VERSION || option == 'h')
            return fputs(option == 'h' ? usage : "headgate " HG_VERSION "\n", stdout) < 0 ? OPTIONS_EXIT_USAGE
                                                                                          : OPTIONS_EXIT_OK;
        else
            return OPTIONS_EXIT_USAGE;
    }
    if (optind < argc)
        return wrong("unexpected argument: ", argv[optind]);
    enum options_result result = check(&o, control_plane, runtime_dir);
    if (result == OPTIONS_RUN)
        *ret = o;
    return result;
}
