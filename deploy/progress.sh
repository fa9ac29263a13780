# Sourced by the scripts here: says what is going on, so that nothing takes longer than a second in silence.

say() { printf '%s\n' "$*" >&2; }

# die MESSAGE...: the reason, and what can be done about it, one argument a line.
die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    shift
    for line in "$@"; do printf '    %s\n' "$line" >&2; done
    exit 1
}

# step LABEL COMMAND...: runs the command with its output in a log, shows the seconds while it runs and when it is done.
# On failure the end of the log is shown and the command's exit code returned.
step() {
    local label=$1 log started=$SECONDS code=0 tick=0
    shift
    log=$(mktemp "${TMPDIR:-/tmp}/headgate-step.XXXXXX")
    [ -t 2 ] || say "  $label ..."
    ("$@") >"$log" 2>&1 </dev/null &
    local child=$!
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        tick=$((tick + 1))
        if [ $((tick % 5)) -eq 0 ] && [ -t 2 ]; then printf '\r  %s ... %d s ' "$label" $((SECONDS - started)) >&2; fi
        if [ $((tick % 100)) -eq 0 ] && ! [ -t 2 ]; then say "  $label ... $((SECONDS - started)) s"; fi
    done
    wait "$child" || code=$?
    if [ -t 2 ]; then printf '\r' >&2; fi
    if [ "$code" -eq 0 ]; then
        say "  $label: done in $((SECONDS - started)) s"
    else
        say "  $label: failed after $((SECONDS - started)) s; the last lines:"
        tail -n 30 "$log" | sed 's/^/    | /' >&2
    fi
    rm -f "$log"
    return "$code"
}
