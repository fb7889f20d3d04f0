#!/bin/sh
# Checks, links or tests the crate for a target other than this machine.
#
#   sh .ci/cross.sh TRIPLE CMD [ARG...]
#       sh .ci/cross.sh x86_64-unknown-freebsd   cargo test --no-run
#       sh .ci/cross.sh aarch64-apple-ios        cargo clippy --all-targets -- -D warnings
#       sh .ci/cross.sh s390x-unknown-linux-musl cargo test
# It runs CMD with the compiler, the linker and the emulator for TRIPLE in its environment. It installs what is missing
# first: Rust 1.96 of Debian, whose sources of `std` fit its compiler, so that `std` can be built for any target; zig,
# which has the C libraries that most targets link with; and an emulator if this machine's kernel can run the program.
# It does not touch the toolchain of rustup.
# Everything is kept in one cache folder. `std` is built there once for each target, which takes most of the time of a
# first run. The script prints nothing unless something fails.
set -eu

zig_version=0.17.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/minimio-cross

[ $# -ge 2 ] || { echo "usage: cross.sh TRIPLE CMD [ARG...]" >&2; exit 2; }
triple=$1
shift

# The name that zig has for the target (if it has a C library for it), the program that runs its programs, and the
# options for rustc.
zig='' emulator='' flags=''
case $triple in
    *-unknown-linux-musl)
        zig=${triple%%-*}-linux-musl
        flags='-Clink-self-contained=no -Ctarget-feature=+crt-static' ;;
    *-apple-darwin) zig=${triple%%-*}-macos ;;
    x86_64-unknown-freebsd | x86_64-unknown-netbsd | x86_64-unknown-openbsd) zig=x86_64-${triple##*-} ;;
    # The programs of these targets are compiled completely, and linked by a stand-in that makes an empty file.
    aarch64-apple-ios | x86_64-unknown-dragonfly | aarch64-linux-android) ;;
    *) echo "cross.sh: it does not know $triple" >&2; exit 2 ;;
esac
case $triple in
    i686-*) zig=x86-linux-musl ;;
    aarch64-unknown-linux-musl | s390x-unknown-linux-musl) emulator=qemu-${triple%%-*} ;;
esac

mkdir -p "$cache/bin"

# --- what is missing, by one run at a time ------------------------------------------------------------------

exec 9>"$cache/lock"
flock 9

# Runs a command, and shows its output only if it failed.
silently() {
    "$@" >"$cache/log" 2>&1 || { echo "cross.sh: this failed: $*" >&2; cat "$cache/log" >&2; exit 1; }
}

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=''
for package in rustc-web cargo-web rust-web-src rust-web-clippy ${zig:+python3-pip} ${emulator:+qemu-user}; do
    is_installed "$package" || missing="$missing $package"
done
if [ -n "$missing" ]; then
    as_root=''
    [ "$(id -u)" = 0 ] || as_root=sudo
    # It uses its own folder for downloads, since another apt may empty the usual one before the packages are unpacked.
    mkdir -p "$cache/debs/partial"
    for action in update "install -y --no-install-recommends $missing"; do
        # The words must be split here.
        # shellcheck disable=SC2086
        silently $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q \
            -o DPkg::Lock::Timeout=600 -o "Dir::Cache::archives=$cache/debs" $action
    done
    $as_root rm -rf "$cache/debs"
fi

zig_home=$cache/zig-$zig_version
if [ -n "$zig" ] && [ ! -e "$zig_home/ziglang/zig" ]; then
    # This installs into a folder of its own, so Debian's protection of its Python packages does not apply.
    rm -rf "$zig_home.new"
    silently env PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
        python3 -m pip install --no-deps --target "$zig_home.new" "ziglang==$zig_version"
    rm -rf "$zig_home"
    mv "$zig_home.new" "$zig_home"
fi

# In PATH the `cargo` of rustup comes before that of Debian. A folder of links comes before both.
for tool in cargo rustc rustdoc cargo-clippy clippy-driver; do
    ln -sfn "/usr/bin/$tool" "$cache/bin/$tool"
done

# The command line of rustc for the linker names a few things that zig lacks or names in another way.
linker=$cache/bin/link-$triple
if [ -n "$zig" ]; then
    cat >"$linker.new" <<END
#!/bin/bash
line=()
for word in "\$@"; do
    if [ "\${skip:-}" ]; then skip=; continue; fi
    case \$word in
        -target | -arch) skip=1 ;;                                # zig's own -target says it
        --target=* | -m32 | -m64 | -melf_* | -Wl,-melf_* | -mmacosx-version-min=*) ;;
        -lkvm | -lmemstat | -lprocstat | -ldevstat | -liconv) ;;  # std names them and uses nothing of them
        -lgcc | -lgcc_s | -lgcc_eh) line+=(-lunwind) ;;
        *) line+=("\$word") ;;
    esac
done
export ZIG_GLOBAL_CACHE_DIR=$cache/zig-cache ZIG_LOCAL_CACHE_DIR=$cache/zig-cache
exec $zig_home/ziglang/zig cc -target $zig "\${line[@]}"
END
else
    cat >"$linker.new" <<'END'
#!/bin/bash
while [ $# -gt 1 ]; do
    if [ "$1" = -o ]; then : >"$2"; fi
    shift
done
END
fi
chmod +x "$linker.new"
mv "$linker.new" "$linker"

# All checkouts build in one folder, which saves `std` and the dependencies. cargo takes the crate itself for the same in
# each, and would take one's for the other's. So what another checkout has built of it is forgotten.
owner=$cache/target/owner
if [ "$(cat "$owner" 2>/dev/null)" != "$PWD" ]; then
    rm -rf "$cache"/target/*/*/.fingerprint/minimio*-*
    mkdir -p "$cache/target"
    printf %s "$PWD" >"$owner"
fi

flock -u 9
exec 9>&-

# --- the command --------------------------------------------------------------------------------------------

name=$(printf %s "$triple" | tr a-z- A-Z_)
unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
export PATH="$cache/bin:$PATH" RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
# Building `std` is an unstable option of cargo. A stable cargo accepts it with this variable.
export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_abort,test
export CARGO_BUILD_TARGET="$triple" CARGO_TARGET_DIR="$cache/target"
export SDKROOT="$cache"   # for Apple's targets: where it is matters to nobody, but without it rustc looks for Xcode
export "CARGO_TARGET_${name}_LINKER=$linker"
[ -z "$flags" ] || export "CARGO_TARGET_${name}_RUSTFLAGS=$flags"
[ -z "$emulator" ] || export "CARGO_TARGET_${name}_RUNNER=$emulator" "MINIMIO_EMULATOR=$emulator"
exec "$@"
