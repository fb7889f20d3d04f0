# Prepares a Debian machine to build this crate for x86_64-pc-windows-gnu and to run it under Wine.
#
#   . .ci/windows-env.sh                                # from bash, at the top of the checkout
#   cargo test --target x86_64-pc-windows-gnu           # unit, integration and doc tests, each started by Wine
#   cargo clippy --all-targets --target i686-pc-windows-msvc
# It installs the compiler that Debian packages for its web browsers (a rustup stays as it is), its sources of `std`,
# mingw and Wine. It builds `std` for Windows from those sources, once for each version of the compiler, and makes a
# Wine prefix. Everything that it makes is in one folder of the cache and may be deleted. A Wine server stays
# and serves all programs (see below). It prints nothing unless something fails.
# WINDOWS_CHECK_TARGETS names more targets, whose `std` is only type-checked. `cargo check` and `cargo clippy` work for
# them, and linking does not.

_windows_home=${XDG_CACHE_HOME:-$HOME/.cache}/minimio-ci/windows
_windows_toolchain=$_windows_home/toolchain

_windows_packages() {
    local missing=() name sudo=
    for name in rustc-web cargo-web rust-web-src rust-web-clippy gcc-mingw-w64-x86-64-posix wine64 procps; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || sudo=sudo
    # It uses its own folder for downloads, since another apt run may empty the usual one.
    mkdir -p "$_windows_home/debs/partial"
    local apt=($sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
    "${apt[@]}" update &&
        "${apt[@]}" -o Dir::Cache::archives="$_windows_home/debs" install -y --no-install-recommends "${missing[@]}" &&
        $sudo rm -rf "$_windows_home/debs"
}

# A folder that looks like a toolchain: the system's compiler, with a library folder to which targets can be added.
_windows_links() {
    local name
    mkdir -p "$_windows_toolchain/bin" "$_windows_toolchain/lib/rustlib"
    for name in /usr/lib/rustlib/*; do
        ln -sfn "$name" "$_windows_toolchain/lib/rustlib/${name##*/}" || return
    done
    for name in cargo cargo-clippy clippy-driver; do
        ln -sfn "/usr/bin/$name" "$_windows_toolchain/bin/$name" || return
    done
    # These two cannot be links, since they look for their library folder where a link points to.
    for name in rustc rustdoc; do
        printf '#!/bin/sh\nexec /usr/bin/%s --sysroot "%s" "$@"\n' "$name" "$_windows_toolchain" \
            >"$_windows_toolchain/bin/$name.new" || return
        chmod +x "$_windows_toolchain/bin/$name.new"
        mv -f "$_windows_toolchain/bin/$name.new" "$_windows_toolchain/bin/$name" || return
    done
}

# _windows_std TARGET build|check: std for a target. Its own dependencies come with the sources: no network.
_windows_std() {
    local target=$1 kind=$2 work=$_windows_home/build version
    local lib=$_windows_toolchain/lib/rustlib/$target
    version=$(/usr/bin/rustc -vV) || return
    [ "$(cat "$lib/version" 2>/dev/null)" != "$version" ] || return 0
    rm -rf "$work" "$lib"
    mkdir -p "$work/src" "$work/lib" "$lib"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' >"$work/Cargo.toml"
    : >"$work/src/lib.rs"
    ( cd "$work" &&
        unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER &&
        RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo "$kind" --release --offline --target "$target" \
            --target-dir "$work/target" -Z build-std=std,panic_unwind,panic_abort,proc_macro,test \
            --config 'source.crates-io.replace-with="vendored"' \
            --config "source.vendored.directory='/usr/lib/rustlib/src/rust/library/vendor'" ) || return
    case $kind in build) kind=rlib ;; check) kind=rmeta ;; esac
    cp "$work/target/$target/release/deps"/lib*."$kind" "$work/lib/" || return
    rm -f "$work/lib"/libempty-*
    mv "$work/lib" "$lib/lib" || return
    printf '%s\n' "$version" >"$lib/version"
    rm -rf "$work"
}

# A Wine prefix, with the one function that std imports and Wine 8 lacks.
_windows_prefix() {
    local dll=$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll
    [ ! -e "$dll" ] || return 0
    rm -rf "$WINEPREFIX"
    /usr/lib/wine/wine64 wineboot --init && /usr/lib/wine/wineserver -w || return
    cat >"$_windows_home/random.c" <<'C'
/* ProcessPrng, which fills memory with random bytes, over the older call that Wine has. */
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(void *bytes, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(BYTE *bytes, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length < 0x100000 ? (ULONG)length : 0x100000;
        if (!SystemFunction036(bytes, part))
            return FALSE;
        bytes += part;
        length -= part;
    }
    return TRUE;
}
BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void *reserved) { return TRUE; }
C
    x86_64-w64-mingw32-gcc -shared -s -O2 -o "$dll.new" "$_windows_home/random.c" -ladvapi32 && mv "$dll.new" "$dll"
}

# Debian's Wine ends its server with the last program, and a program that starts in that moment fails with "client error:
# recvmsg: Connection reset by peer". So one server stays for good (`wineserver -k` ends it). A server with a time limit
# would count from the first pause on, and end among programs that came after it. It also spares each program the start of
# Wine's services. They would keep the output of the program that starts them open, so a program without one starts them.
_windows_server() {
    local server='/usr/lib/wine/wineserver64 -p'
    until $server </dev/null >/dev/null 2>&1; do
        # There is one already. If it ends with its last program, the next one is ours.
        ! pgrep -fx "$server" >/dev/null || return 0
        /usr/lib/wine/wineserver64 -w || return
    done
    /usr/lib/wine/wine64 cmd /c exit </dev/null >/dev/null 2>&1
}

_windows_setup() {
    local target
    _windows_packages && _windows_links && _windows_std x86_64-pc-windows-gnu build || return
    for target in ${WINDOWS_CHECK_TARGETS-}; do
        _windows_std "$target" check || return
    done
    _windows_prefix && _windows_server
}

export WINEPREFIX=$_windows_home/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
mkdir -p "$_windows_home"
if ( flock 9 && _windows_setup 9>&- ) 9>"$_windows_home/lock" >"$_windows_home/log" 2>&1; then
    export PATH=$_windows_toolchain/bin:$PATH
    # clippy-driver is not started through this rustc.
    export SYSROOT=$_windows_toolchain
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=/usr/lib/wine/wine64
    unset RUSTC RUSTDOC RUSTUP_TOOLCHAIN
else
    cat "$_windows_home/log" >&2
    echo 'windows-env.sh: failed, see above' >&2
    false
fi
