# Sourced by scripts that take packages of other Debian suites: an apt of their own. The host's sources and lists are only
# read, for the address of the mirror; every index is signed, and apt checks every file's hash against it.
# The caller has `set -euo pipefail`, has sourced progress.sh, and has set work to an empty folder that it removes.

keyring=/usr/share/keyrings/debian-archive-keyring.gpg

mkdir -p "$work"/apt/{lists/partial,cache/archives/partial}
apt_options=(
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=-
    -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache"
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=2 -qq
    -o APT::Get::AllowUnauthenticated=false -o Acquire::AllowInsecureRepositories=false -o Acquire::AllowWeakRepositories=false
    -o Acquire::AllowDowngradeToInsecureRepositories=false
)
private() { "$1" "${apt_options[@]}" "${@:2}"; }

# The mirror that the host uses for Debian itself, and the one for its security updates (empty where it has none).
site_of() {
    apt-get indextargets --format '$(SITE) $(LABEL)' 'Created-By: Packages' 'Origin: Debian' |
        sed -n "s/ $1\$//p" | sort -u | head -n 1
}

# Of a mirror that lags behind, the index may have expired. It is signed all the same, and apt checks what it names; what it
# may lack are newer versions. Only a caller whose programs serve nobody sets this to yes.
accept_expired=no

fetch_indexes() {
    step "signed indexes: $(cut -d' ' -f4 "$work/sources.list" | paste -sd' ')" private apt-get update --error-on=any
}

# use_suites LINE...: fetches the indexes of "TYPE SUITE [security]" lines.
use_suites() {
    local type suite where mirror site security
    site=$(site_of Debian)
    security=$(site_of Debian-Security)
    [ -n "$site" ] || die "apt knows no Debian mirror" "Run apt-get update first."
    [ -r "$keyring" ] || die "$keyring is missing" "It is in Debian's package debian-archive-keyring."
    : >"$work/sources.list"
    while read -r type suite where; do
        mirror=$site
        [ "$where" != security ] || mirror=$security
        [ -z "$mirror" ] || echo "$type [signed-by=$keyring] $mirror $suite main" >>"$work/sources.list"
    done < <(printf '%s\n' "$@")
    fetch_indexes && return
    if [ $accept_expired = yes ]; then
        say "  once more, with indexes that have expired: what is built of them is for tests alone"
        apt_options+=(-o Acquire::Check-Valid-Until=false)
        fetch_indexes && return
    fi
    die "the indexes could not be fetched or their signatures not verified."
}

# newest_in SUITE PACKAGE: its newest version there, for use_suites' indexes; nothing when there is none.
newest_in() {
    private apt-cache madison "$2" | awk -F' *[|] *' -v suite="$1" '/Packages/ && index($3, suite "/") {print $2}' |
        sort -V | tail -n 1
}
