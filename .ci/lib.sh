# Shared by the scripts of this folder; sourced by bash.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ci_cache=${XDG_CACHE_HOME:-$HOME/.cache}/minimio-ci
ci_logs=$(mktemp -d)
trap 'rm -rf "$ci_logs"' EXIT
mkdir -p "$ci_cache"

# step NAME CMD...: runs a command with its output kept back, and shows it only if it fails.
step() {
    local name=$1 began=$SECONDS
    shift
    if ! "$@" >"$ci_logs/step" 2>&1; then
        echo "--- $name: failed after $((SECONDS - began)) s: $*" >&2
        tail -n 200 "$ci_logs/step" >&2
        exit 1
    fi
    [ -z "${CI_TIMES-}" ] || echo "$name: $((SECONDS - began)) s" >&2
}

# tests NAME CMD...: the same for a test run, of which the runner's closing lines are shown.
tests() {
    step "$@"
    # One line for the many binaries of a run, in the runner's own words.
    awk -v name="$1" '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { printf "%s: test result: ok. %d passed; %d failed; %d ignored\n", name, passed, failed, ignored
              exit passed == 0 }' "$ci_logs/step"
}

# packages NAME...: installs Debian packages that are missing. The download folder is our own, since another apt run at
# the same time may empty the usual one before they are unpacked.
packages() {
    local missing=() name
    for name in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    mkdir -p "$ci_cache/debs/partial"
    local apt=($sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
    # Joined, since bash heeds no `set -e` in a function whose result is asked for, as `step` does.
    "${apt[@]}" update &&
        "${apt[@]}" -o Dir::Cache::archives="$ci_cache/debs" install -y --no-install-recommends "${missing[@]}" &&
        $sudo rm -rf "$ci_cache/debs"
}
