#include "dataplane/process/options.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/resource.h"

const struct option_spec dataplane_option_specs[] = {
    {"node", 'n', "NAME", "this data plane's name ($HEADGATE_NODE or the host's)"},
    {"zone", '\0', "NAME", "the zone that this data plane is in ($HEADGATE_ZONE)"},
    {"workers", 'w', "N", "threads that serve traffic (one per CPU)"},
    {"admin-listen", 'a', "ADDRESS", "metrics and probes over HTTP (127.0.0.1:9901), or off"},
    {"metrics-token-file", '\0', "FILE", "the bearer token for /metrics off loopback"},
    {"kernel-tls", '\0', "WHEN", "auto (the default: the kernel makes the records of TLS where it can do all of it) or off"},
    {"tls-cert", '\0', "FILE", "PEM certificate (and chain) to show to a control plane over TCP"},
    {"tls-key", '\0', "FILE", "its PEM key"},
    {"tls-ca", '\0', "FILE", "PEM authorities that the control plane's certificate must come from"},
    {"tls-name", '\0', "NAME", "that the control plane's certificate must be for"},
    {"version", 'V', NULL, "print the version"},
    {"help", 'h', NULL, "print this"},
    {0},
};

static int set_node(struct dataplane_options *o, struct error_list *errors) {
    const char *node = options_get(&o->given, "node");
    if (!node)
        node = getenv("HEADGATE_NODE");
    if (node && *node)
        snprintf(o->node, sizeof o->node, "%s", node);
    else if (gethostname(o->node, sizeof o->node - 1) < 0)
        o->node[0] = '\0';
    if (resource_name_is_valid(str_of(o->node)))
        return 0;
    error_addf(errors, ERROR_SYNTAX, "not a valid name for a data plane: \"%s\"", o->node);
    return -1;
}

static int set_zone(struct dataplane_options *o, struct error_list *errors) {
    const char *zone = options_get(&o->given, "zone");
    if (!zone)
        zone = getenv("HEADGATE_ZONE");
    if (zone && strlen(zone) >= sizeof o->zone) {
        error_addf(errors, ERROR_RANGE, "--zone is longer than %zu bytes", sizeof o->zone - 1);
        return -1;
    }
    snprintf(o->zone, sizeof o->zone, "%s", zone ? zone : "");
    return 0;
}

static unsigned count_cpus(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > WORKERS_MAX ? WORKERS_MAX : (unsigned)count;
}

static int set_workers(struct dataplane_options *o, struct error_list *errors) {
    uint64_t workers;
    const struct options_range range = {1, WORKERS_MAX, count_cpus()};
    if (options_number(&o->given, "workers", &range, &workers, errors) < 0)
        return -1;
    o->workers = (unsigned)workers;
    return 0;
}

static int set_admin(struct dataplane_options *o, struct error_list *errors) {
    const char *text = options_get(&o->given, "admin-listen");
    if (!text)
        text = "127.0.0.1:9901";
    o->has_admin = strcmp(text, "off") != 0;
    if (!o->has_admin || address_parse(str_of(text), &o->admin_listen) == 0)
        return 0;
    error_addf(errors, ERROR_SYNTAX, "--admin-listen is an address such as 127.0.0.1:9901, or off, not %s",
               text);
    return -1;
}

static int set_token(struct dataplane_options *o, struct error_list *errors) {
    const char *path = options_get(&o->given, "metrics-token-file");
    if (!path)
        return 0;
    o->metrics_token = token_file_open(path, errors);
    return o->metrics_token ? 0 : -1;
}

static int set_kernel_tls(struct dataplane_options *o, struct error_list *errors) {
    const char *text = options_get(&o->given, "kernel-tls");
    o->may_use_kernel_tls = !text || strcmp(text, "auto") == 0;
    if (o->may_use_kernel_tls || strcmp(text, "off") == 0)
        return 0;
    error_addf(errors, ERROR_SYNTAX, "--kernel-tls is auto or off, not %s", text);
    return -1;
}

static int set_tls(struct dataplane_options *o, struct error_list *errors) {
    o->tls = (struct channel_tls_files){
        .certificate = options_get(&o->given, "tls-cert"),
        .key = options_get(&o->given, "tls-key"),
        .ca = options_get(&o->given, "tls-ca"),
        .server_name = options_get(&o->given, "tls-name"),
    };
    bool has_any = o->tls.certificate || o->tls.key || o->tls.ca || o->tls.server_name;
    bool has_all = o->tls.certificate && o->tls.key && o->tls.ca && o->tls.server_name;
    if (has_any == has_all)
        return 0;
    error_addf(errors, ERROR_MISSING, "--tls-cert, --tls-key, --tls-ca and --tls-name are given together");
    return -1;
}

int dataplane_options_parse(int argc, char *const *argv, struct dataplane_options *ret,
                            struct error_list *errors) {
    *ret = (struct dataplane_options){0};
    int status = options_parse(dataplane_option_specs, argc, argv, &ret->given, errors);
    if (ret->given.argument_count) {
        error_addf(errors, ERROR_SYNTAX, "unexpected argument: %s", ret->given.arguments[0]);
        status = -1;
    }
    return status | set_node(ret, errors) | set_zone(ret, errors) | set_workers(ret, errors) | set_admin(ret, errors) |
           set_token(ret, errors) | set_kernel_tls(ret, errors) | set_tls(ret, errors);
}

void dataplane_options_finish(struct dataplane_options *o) {
    options_finish(&o->given);
    token_file_close(o->metrics_token);
    o->metrics_token = NULL;
}
