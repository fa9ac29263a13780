#include "dataplane/holder/options.h"

#include <stdio.h>
#include <string.h>

#include "common/folders.h"

const struct option_spec holder_option_specs[] = {
    {"dataplane", 'd', "PROGRAM", "the headgate-dataplane program; required"},
    {"control-plane", '\0', "ADDRESS",
     "unix:PATH, IPV4:PORT, [IPV6]:PORT or HOST:PORT (unix:RUNTIME_DIR/dataplane.sock)"},
    {"state-dir", 's', "DIR",
     "where the last-known-good copy is kept, in its folder dataplane ($HEADGATE_STATE_DIR or "
     "/var/lib/headgate)"},
    {"runtime-dir", 'r', "DIR", "where the sockets are ($HEADGATE_RUNTIME_DIR or /run/headgate)"},
    {"user", 'u', "NAME", "who the data plane runs as, when started as root (headgate, or nobody)"},
    {"udp-steering", '\0', "HOW",
     "what gives datagrams to their worker at best: auto (the default: eBPF where it can be loaded, else classic BPF), "
     "classic, or hash (none)"},
    {"version", 'V', NULL, "print the version"},
    {"help", 'h', NULL, "print this"},
    /* for the data plane, which checks them */
    {"node", 'n', "NAME", "the data plane's name ($HEADGATE_NODE or the host's)"},
    {"zone", '\0', "NAME", "the zone that this data plane is in ($HEADGATE_ZONE)"},
    {"workers", 'w', "N", "threads that serve traffic (one per CPU)"},
    {"admin-listen", 'a', "ADDRESS", "metrics and probes over HTTP (127.0.0.1:9901), or off"},
    {"metrics-token-file", '\0', "FILE", "the bearer token for /metrics off loopback"},
    {"kernel-tls", '\0', "WHEN", "auto (the default: the kernel makes the records of TLS where it can do all of it) or off"},
    {"tls-cert", '\0', "FILE", "PEM certificate (and chain) to show to a control plane over TCP"},
    {"tls-key", '\0', "FILE", "its PEM key"},
    {"tls-ca", '\0', "FILE", "PEM authorities that the control plane's certificate must come from"},
    {"tls-name", '\0', "NAME", "that the control plane's certificate must be for"},
    {0},
};

enum { FIRST_PASSED = 8 };

static int fail(struct error_list *errors, const char *what, const char *value) {
    error_addf(errors, ERROR_SYNTAX, "%s%s", what, value);
    return -1;
}

static int default_control_plane(const struct options *given, struct resolver_name *ret,
                                 struct error_list *errors) {
    char text[ADDRESS_TEXT_MAX], folder[ADDRESS_TEXT_MAX];
    const char *dir = options_get(given, "runtime-dir");
    if (!dir && default_runtime_dir(folder, sizeof folder) == 0)
        dir = folder;
    int n = dir ? snprintf(text, sizeof text, "unix:%s/dataplane.sock", dir) : -1;
    if (n < 0 || n >= (int)sizeof text || resolver_name_parse(str_of(text), ret) < 0)
        return fail(errors, "the path of the runtime folder is too long", "");
    return 0;
}

static int set_control_plane(const struct options *given, struct resolver_name *ret,
                             struct error_list *errors) {
    const char *text = options_get(given, "control-plane");
    if (!text)
        return default_control_plane(given, ret, errors);
    if (resolver_name_parse(str_of(text), ret) < 0)
        return fail(errors, "--control-plane is unix:PATH, IPV4:PORT, [IPV6]:PORT or HOST:PORT, not ", text);
    return 0;
}

static int set_steering(const struct options *given, enum steering_form *ret, struct error_list *errors) {
    static const char *const words[] = {[STEERING_HASH] = "hash", [STEERING_CLASSIC] = "classic", [STEERING_EBPF] = "auto"};
    const char *text = options_get(given, "udp-steering");
    for (int i = STEERING_EBPF; i >= STEERING_HASH; i--)
        if (!text || strcmp(text, words[i]) == 0) {
            *ret = (enum steering_form)i;
            return 0;
        }
    return fail(errors, "--udp-steering is auto, classic or hash, not ", text);
}

/* The name of a passed option with its dashes: the table's names are literals, so these are too. */
static const char *dashed(const struct option_spec *spec) {
    static char texts[PASSED_OPTIONS_MAX][32];
    char *text = texts[spec - &holder_option_specs[FIRST_PASSED]];
    snprintf(text, sizeof *texts, "--%s", spec->name);
    return text;
}

static void pass_on(struct holder_options *o) {
    size_t count = 0;
    for (const struct option_spec *spec = &holder_option_specs[FIRST_PASSED]; spec->name; spec++) {
        const char *value = options_get(&o->given, spec->name);
        if (!value)
            continue;
        o->passed[count++] = dashed(spec);
        o->passed[count++] = value;
    }
}

int holder_options_parse(int argc, char *const *argv, struct holder_options *ret, struct error_list *errors) {
    *ret = (struct holder_options){0};
    int status = options_parse(holder_option_specs, argc, argv, &ret->given, errors);
    if (options_has(&ret->given, "help") || options_has(&ret->given, "version"))
        return status;
    ret->state_dir = options_get(&ret->given, "state-dir");
    if (!ret->state_dir && default_state_dir(ret->default_state_dir, sizeof ret->default_state_dir) < 0)
        status = fail(errors, "the path of the state folder is too long", "");
    if (!ret->state_dir)
        ret->state_dir = ret->default_state_dir;
    ret->user = options_get(&ret->given, "user");
    ret->dataplane = options_get(&ret->given, "dataplane");
    if (!ret->dataplane)
        status = fail(errors, "--dataplane is required", "");
    if (ret->given.argument_count)
        status = fail(errors, "unexpected argument: ", ret->given.arguments[0]);
    if (set_control_plane(&ret->given, &ret->control_plane, errors) < 0 ||
        set_steering(&ret->given, &ret->steering, errors) < 0)
        status = -1;
    pass_on(ret);
    return status;
}

void holder_options_finish(struct holder_options *o) {
    options_finish(&o->given);
}
