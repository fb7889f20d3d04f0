# Functions that the scripts of this folder share. Bash sources this file.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ci_cache=${XDG_CACHE_HOME:-$HOME/.cache}/minimio-ci
ci_logs=$(mktemp -d)
trap 'rm -rf "$ci_logs"' EXIT
mkdir -p "$ci_cache"

# step NAME CMD...: runs a command, and shows its output only if it fails.
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

# tests NAME CMD...: the same for a test run, whose closing lines are shown.
tests() {
    step "$@"
    # Adds up the closing lines of the many test programs of a run to one line.
    awk -v name="$1" '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
        END { printf "%s: test result: ok. %d passed; %d failed; %d ignored\n", name, passed, failed, ignored
              exit passed == 0 }' "$ci_logs/step"
}

# packages NAME...: installs Debian packages that are missing. It uses its own folder for downloads, since another apt
# run may empty the usual one before the packages are unpacked.
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
    # The commands are joined by `&&`, since bash ignores `set -e` in a function whose result is tested, as `step` does.
    "${apt[@]}" update &&
        "${apt[@]}" -o Dir::Cache::archives="$ci_cache/debs" install -y --no-install-recommends "${missing[@]}" &&
        $sudo rm -rf "$ci_cache/debs"
}
