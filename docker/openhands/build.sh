#!/usr/bin/env bash
# The OpenHands toolchain: a relocatable, read-only tree that instance images see at /opt/oh.
#
#   build.sh PREFIX      fill the empty folder PREFIX; no root and no Docker needed
#
# CPython, tmux and their libraries (libc too) are Debian's own binaries, unpacked and never
# changed: small wrappers start them through the tree's own dynamic loader, so that neither the
# image's libc nor its Python matters. Packages come from apt (signatures checked), wheels from uv
# (hashes checked); nothing that is downloaded runs before it is checked.
#
#   DEBIAN_MIRROR   default: the Debian mirror of this machine's own apt
#   DEBIAN_KEYRING  default /usr/share/keyrings/debian-archive-keyring.gpg
#   UV              the uv to use, default: the one on PATH; UV_* say which index it asks
set -euo pipefail
umask 022
export LC_ALL=C

suite=trixie
version=3.13
libc=40 # glibc 2.x, at most that of the suite: which manylinux wheels fit
debs=(
    python3.13-minimal libpython3.13-minimal python3.13 libpython3.13-stdlib tmux
    libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3t64 libzstd1 libffi8 libsqlite3-0 libbz2-1.0
    liblzma5 libuuid1 libreadline8t64 libncursesw6 libtinfo6 libdb5.3t64 libevent-core-2.1-7t64
    libsystemd0 libcap2 libjemalloc2 ncurses-base
)

keyring=${DEBIAN_KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}
uv=${UV:-uv}
here=$(cd "$(dirname "$0")" && pwd)

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

own_mirror() { # of this machine's apt; none on Ubuntu
    local uri
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | while read -r uri; do
        case $uri in */debian | */debian/) echo "$uri" && break ;; esac
    done
}

download_debs() { # into $work/debs, through an apt of its own
    local apt=$work/apt option options=()
    mkdir -p "$apt"/{lists/partial,cache/archives/partial} "$work/debs"
    touch "$apt/status"
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
    for option in APT::Architecture=amd64 APT::Architectures=amd64 APT::Sandbox::User=root \
        Acquire::Languages=none Acquire::Retries=3 Dir::Etc::sourcelist="$apt/sources.list" \
        Dir::Etc::sourceparts=/dev/null Dir::Etc::preferencesparts=/dev/null \
        Dir::State="$apt" Dir::State::status="$apt/status" Dir::Cache="$apt/cache"; do
        options+=(-o "$option")
    done
    apt-get -qq "${options[@]}" update
    (cd "$work/debs" && apt-get -qq "${options[@]}" download "${debs[@]}" >/dev/null)
}

unpack_debs() {
    local deb file
    mkdir "$work/root"
    for deb in "$work"/debs/*.deb; do
        dpkg-deb -x "$deb" "$work/root"
        echo "$(dpkg-deb -f "$deb" Package) $(dpkg-deb -f "$deb" Version)" \
            "$(sha256sum <"$deb" | cut -d' ' -f1)" >>"$prefix/debs.txt"
    done
    mkdir -p "$prefix"/{bin,lib,libexec,path,share}
    cp "$work/root/usr/bin/python$version" "$work/root/usr/bin/tmux" "$prefix/libexec/"
    cp -R "$work/root/usr/lib/python$version" "$prefix/lib/"
    for file in "$work"/root/{usr/share,usr/lib,lib}/terminfo; do
        [ ! -d "$file" ] || cp -R "$file" "$prefix/share/"
    done
    for file in "$work"/root/{usr/,}lib/x86_64-linux-gnu/*.so*; do
        [ ! -f "$file" ] || cp -L "$file" "$prefix/lib/"
    done
    find "$prefix/lib/python$version" -type l -delete # they lead out of the tree, to /etc
}

write_wrappers() {
    # -I -B: neither the environment nor the work tree of an image changes what is imported
    write_wrapper python "python$version\" -I -B"
    write_wrapper tmux 'tmux"'
    ln -s ../bin/tmux "$prefix/path/tmux" # for PATH: an image must not find another python
}

write_wrapper() { # name, what is started
    cat >"$prefix/bin/$1" <<WRAPPER
#!/bin/sh
root=\${0%/*}/..
unset LD_PRELOAD
exec "\$root/lib/ld-linux-x86-64.so.2" --inhibit-cache --library-path "\$root/lib" --argv0 "\$0" \\
    "\$root/libexec/$2 "\$@"
WRAPPER
    chmod 755 "$prefix/bin/$1"
}

install_wheels() {
    "$uv" pip install --quiet --target "$packages" --link-mode copy \
        --python-version "$version" --python-platform "x86_64-manylinux_2_$libc" \
        --no-deps --only-binary :all: --require-hashes -r "$here/requirements.lock"
    cp "$here/requirements.lock" "$prefix/"
    rm -rf "$packages"/{bin,.lock} # its scripts name this machine's Python
    rm -f "$packages"/*.dist-info/{RECORD,INSTALLER,REQUESTED}
}

trim() { # what no agent needs
    cd "$prefix/lib/python$version"
    rm -rf test idlelib turtledemo tkinter config-* ensurepip
    cd "$packages"
    rm -rf botocore/data litellm/proxy/_experimental/out
    rm -f litellm/rust_bridge/_native.abi3.so # optional, and opt-in
    cd "$work"
}

keep_needed_libraries() { # and see that none comes from the machine
    local file found=$work/libraries
    {
        echo "$prefix/lib/ld-linux-x86-64.so.2"
        echo "$prefix/lib/libgcc_s.so.1" # libc opens it by name
        find "$prefix/libexec" "$prefix/lib/python$version" -type f \
            \( -path '*/libexec/*' -o -name '*.so' -o -name '*.so.*' \) | while read -r file; do
            "$prefix/lib/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$prefix/lib" \
                --list "$file" | sed -n 's/.*=> \(.*\) (0x.*/\1/p; s/.*=> not found.*/missing &/p'
        done
    } | sort -u >"$found"
    if grep -v "^$prefix/" "$found" >&2; then
        fail "libraries that are not in the tree: add their Debian packages"
    fi
    for file in "$prefix"/lib/*.so*; do
        grep -qxF "$file" "$found" || rm "$file"
    done
}

compile() { # unchecked: a read-only tree needs no look at the sources
    "$prefix/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
        -s "$prefix" -p /opt/oh "$prefix/lib/python$version"
}

[ $# = 1 ] || fail "usage: build.sh PREFIX"
[ "$(uname -sm)" = "Linux x86_64" ] || fail "needs Linux on x86_64, this is $(uname -sm)"
for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || fail "no $tool: this needs Debian or Ubuntu; elsewhere see docker/openhands/Dockerfile"
done
[ -r "$keyring" ] || fail "no $keyring: apt-get install debian-archive-keyring"
mirror=${DEBIAN_MIRROR:-$(own_mirror)}
[ -n "$mirror" ] || fail "apt has no mirror of Debian on this machine: set DEBIAN_MIRROR"
mkdir -p "$1"
prefix=$(cd "$1" && pwd)
[ -z "$(ls -A "$prefix")" ] || fail "$prefix is not empty"
packages=$prefix/lib/python$version/dist-packages
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

download_debs
unpack_debs
write_wrappers
install_wheels
trim
keep_needed_libraries
compile
chmod -R u=rwX,go=rX "$prefix"
