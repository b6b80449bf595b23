#!/bin/sh
# Builds selfdock as the invoking user and installs it set-user-id root, or with file capabilities;
# see usage below.
#
# A privileged program is safe to install only where nobody but root can touch the way to it, so
# every directory on that way is judged before anything is written, and the new file becomes
# privileged last: complete, root's, checked, and not yet under its name.
set -eu
# Where it is set, cd(1) prints where it went.
unset CDPATH

usage() {
    cat <<'END'
usage: ./install.sh [--group NAME] [--file-capabilities] [--binary FILE] [--no-proof]
       ./install.sh --uninstall
       ./install.sh --build-only

Builds selfdock and installs it as root:root 4755 in /usr/local/bin, with its man page and shell
completions. Run it as yourself: sudo is used for the installing step only.

  --group NAME   install root:NAME 4750: only members of that group can start it
  --file-capabilities
                 install it without the set-user-id bit, 0755 or 0750, with the three capabilities
                 that it uses; its effective user id is never root's. Needs setcap(8). Not every
                 filesystem can keep them, and copies and archives lose them
  --binary FILE  install this file instead of building one
  --no-proof     do not run the installed program at the end
  --uninstall    remove what was installed, and the directories that were made for it
  --build-only   build it as it would be installed, and print where it is
  --help         print this

PREFIX   where to install [default: /usr/local]
DESTDIR  an existing directory to put in front of PREFIX, for packaging; no proof is run then
END
}

say() { printf 'install.sh: %s\n' "$*"; }
fail() {
    say "$*" >&2
    exit 1
}

# Whoever runs the program at the end, if root installs it: nobody.
UNPRIVILEGED=65534

# Permitted only: what libc does at the start is not to be done with privilege.
CAPABILITIES=cap_sys_admin,cap_sys_chroot,cap_setpcap+p

main() {
    group='' capabilities='' binary='' proof=yes action=install
    while [ $# -gt 0 ]; do
        case $1 in
            --group | --binary)
                [ -n "${2-}" ] || fail "option $1 needs a value"
                case $1 in
                    --group) group=$2 ;;
                    --binary) binary=$2 ;;
                esac
                shift
                ;;
            --file-capabilities) capabilities=yes ;;
            --no-proof) proof='' ;;
            --uninstall) action=uninstall ;;
            --build-only) action=build ;;
            --help | -h)
                usage
                exit 0
                ;;
            *) fail "unknown option \"$1\"; --help shows those that there are" ;;
        esac
        shift
    done
    if [ "$action" != install ] && [ -n "$group$capabilities$binary" ]; then
        fail "--uninstall and --build-only take no other option"
    fi
    find_places
    if [ "$action" = build ]; then
        build >&2
        printf '%s\n' "$binary"
        return
    fi
    become=
    if [ "$(id -u)" -ne 0 ]; then
        become=sudo
        command -v sudo >/dev/null || fail "only root can install it, and there is no sudo here"
    fi
    case $action in
        install) install ;;
        uninstall) if [ -n "$become" ]; then as_root --uninstall; else uninstall; fi ;;
    esac
}

# Sets source (this clone), stage (DESTDIR without links; empty for none) and prefix.
find_places() {
    source=$(cd -- "$(dirname -- "$0")" && pwd -P)
    prefix=${PREFIX:-/usr/local}
    case $prefix in
        *//* | */./* | */../* | */. | */..) fail "PREFIX must be a plain path: $prefix" ;;
        /*[!/]*) prefix=${prefix%/} ;;
        *) fail "PREFIX must be an absolute path, and not the root directory: $prefix" ;;
    esac
    stage=
    if [ -n "${DESTDIR:-}" ]; then
        stage=$(cd -- "$DESTDIR" 2>/dev/null && pwd -P) || fail "DESTDIR is not a directory: $DESTDIR"
        stage=${stage%/}
    fi
    case $stage$prefix in
        *"
"*) fail "DESTDIR and PREFIX must not contain a line break" ;;
    esac
    program=$prefix/bin/selfdock
    manifest=$prefix/share/selfdock/manifest
}

install() {
    if [ -z "$binary" ]; then
        build
    else
        [ -f "$binary" ] || fail "there is no such file: $binary"
        binary=$(cd -- "$(dirname -- "$binary")" && pwd -P)/${binary##*/}
    fi
    if [ -n "$become" ]; then
        set -- --binary "$binary" --no-proof
        [ -z "$group" ] || set -- "$@" --group "$group"
        [ -z "$capabilities" ] || set -- "$@" --file-capabilities
        as_root "$@"
    else
        put_program
        put_documents
        say "installed $stage$program"
    fi
    if [ -n "$stage" ]; then
        [ -z "$proof" ] || say "no proof: DESTDIR is set, so this is a copy for another place"
    elif [ -n "$proof" ]; then
        prove
    fi
}

# The installing step: this same script, run by root.
as_root() {
    sudo -- env DESTDIR="$stage" PREFIX="$prefix" sh "$source/install.sh" "$@"
}

# --- building, as the invoking user ---------------------------------------------------------------

build() {
    if [ "$(id -u)" -eq 0 ] && [ "${SUDO_UID:-0}" != 0 ] && [ "$(stat -c %u "$source")" = "$SUDO_UID" ]; then
        fail "run it without sudo: it builds as you, and uses sudo itself for installing"
    fi
    target_dir=${CARGO_TARGET_DIR:-$source/target}
    case $target_dir in
        /*) ;;
        *) target_dir=$PWD/$target_dir ;;
    esac
    cd -- "$source"
    command -v cargo >/dev/null || fail "Rust is needed to build it: there is no cargo in PATH"
    command -v cc >/dev/null || fail "a C compiler is needed to link it: there is no cc in PATH"
    host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
    [ -n "$host" ] || fail "cannot find out what rustc builds for"
    # musl's start-up is shorter, and on virtual machines much faster.
    target=${host%%-*}-unknown-linux-musl
    has_library "$target" || target=$host
    # These would replace the flags of .cargo/config.toml, and with them the static build.
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    say "building for $target"
    # The program names the sources of its crates in messages: without the builder's own directory,
    # the same sources become the same bytes wherever they are built (tests/reproducible).
    set --
    crates=${CARGO_HOME:-${HOME:-}/.cargo}
    case $crates in
        *\'* | *"
"*) ;; # not to be written in TOML
        /*) set -- --config "target.$target.rustflags = ['--remap-path-prefix=$crates=/cargo']" ;;
    esac
    cargo build --release --locked --bin selfdock --target "$target" --target-dir "$target_dir" "$@" ||
        fail "it does not build; the messages above say why"
    binary=$(cd -- "$target_dir/$target/release" && pwd -P)/selfdock
}

# Has the toolchain the standard library for target $1?
has_library() {
    libdir=$("${RUSTC:-rustc}" --print target-libdir --target "$1" 2>/dev/null) || return 1
    for library in "$libdir"/libstd-*.rlib; do
        [ -e "$library" ] && return 0
    done
    return 1
}

# --- installing, as root --------------------------------------------------------------------------

put_program() {
    find_setcap
    bin=$stage$prefix/bin old=$stage$program new=$stage$prefix/bin/.selfdock.new
    trap 'rm -f -- "$new"; unmake_dirs' EXIT
    trap 'exit 1' HUP INT TERM
    make_dir "$bin"
    rm -f -- "$new"
    [ ! -d "$old" ] || [ -L "$old" ] || fail "$old is a directory"
    word=$(umask 077 && cp -- "$binary" "$new" 2>&1) || fail "$word"
    # From here on the file is root's alone: what is checked is what is installed.
    chmod 700 -- "$new"
    check_static "$new"
    check_mount "$bin" "$new"
    case $("$new" --version 2>&1) in
        "selfdock "[0-9]*) ;;
        *) fail "$binary is not selfdock: --version does not say so" ;;
    esac
    mode=755
    [ -z "$group" ] || mode=750
    [ -n "$capabilities" ] || mode=4$mode
    # The rest comes after the owner: chown(2) takes the set-user-id bit and capabilities away.
    chown -- "0:${group:-0}" "$new" 2>/dev/null || fail "there is no group \"$group\""
    chmod -- "$mode" "$new"
    [ -z "$capabilities" ] || endow "$new"
    record "$program"
    # Somebody may hold a hard link to the program that is replaced: it must do nothing for them.
    if [ -f "$old" ] && [ ! -L "$old" ]; then
        trap '' HUP INT TERM
        exec 9<"$old"
        mv -f -- "$new" "$old"
        disarm /proc/self/fd/9
        exec 9<&-
    else
        mv -f -- "$new" "$old"
    fi
    trap - EXIT HUP INT TERM
    check_installed "$old" "$mode"
}

# Fails if file capabilities are asked for, and there is nothing to set them with.
find_setcap() {
    [ -n "$capabilities" ] || return 0
    # Where Debian has the tools of administrators.
    PATH=$PATH:/usr/sbin:/sbin
    command -v setcap >/dev/null ||
        fail "setcap is needed for --file-capabilities, and is not here: in Debian it is in libcap2-bin"
}

# Gives the file $1 its capabilities.
endow() {
    word=$(setcap "$CAPABILITIES" "$1" 2>&1) ||
        fail "cannot give $1 its capabilities; not every filesystem can keep them: $word"
}

# Takes from the file $1 whatever it can do, by every name that it has. chown(2) removes capabilities
# too, and needs no tool for that.
disarm() {
    chmod 0 -- "$1"
    chown 0:0 -- "$1"
}

# What the build has rendered beside the program; nothing of it is needed to run selfdock.
put_documents() {
    assets=${binary%/*}/assets
    put_document selfdock.1 share/man/man1/selfdock.1
    put_document selfdock.bash share/bash-completion/completions/selfdock
    put_document _selfdock share/zsh/site-functions/_selfdock
    put_document selfdock.fish share/fish/vendor_completions.d/selfdock.fish
}

put_document() {
    [ -f "$assets/$1" ] || return 0
    document=$stage$prefix/$2
    make_dir "${document%/*}"
    rm -f -- "$document.new"
    word=$(cp -- "$assets/$1" "$document.new" 2>&1) || fail "$word"
    chmod 644 -- "$document.new"
    record "$prefix/$2"
    mv -f -- "$document.new" "$document"
}

# Makes the directory $1 if it is missing, after judging the one that it lies in.
make_dir() {
    if [ -d "${1:-/}" ]; then
        guard "$1"
        return
    fi
    make_dir "${1%/*}"
    word=$(mkdir -- "$1" 2>&1) || fail "$word"
    chmod 755 -- "$1"
    made="${made-}${1#"$stage"}
"
}

# Removes again what was made for nothing.
unmake_dirs() {
    printf %s "${made-}" | LC_ALL=C sort -r | while read -r path; do
        rmdir -- "$stage$path" || true
    done
}

# Fails unless nobody but root can rename or replace anything on the way to the directory $1.
guard() {
    at=$(cd -P -- "${1:-/}" && pwd -P) || fail "cannot enter the directory $1"
    below=0
    while :; do
        owner=$(stat -c '%u %a' -- "$at") || fail "cannot read the owner of $at"
        bits=0${owner#* } owner=${owner%% *}
        [ "$owner" -eq 0 ] || fail "the directory $at is not root's; install into one that is"
        # In a sticky directory nobody can move what is root's.
        if [ $((bits & 022)) -ne 0 ] && { [ $((bits & 01000)) -eq 0 ] || [ "$below" -ne 1 ]; }; then
            fail "the directory $at is writable by others than root (mode ${bits#0})"
        fi
        [ "$at" != / ] || return 0
        at=${at%/*}
        at=${at:-/}
        below=1
    done
}

# Notes the file $1, and the directories made for it, for --uninstall. Before it has its name, so
# that an interrupted installation can be removed as well.
record() {
    list=$stage$manifest
    make_dir "${list%/*}"
    {
        [ ! -f "$list" ] || cat -- "$list"
        printf '%s%s\n%s\n' "${made-}" "$1" "$manifest"
    } | LC_ALL=C sort -u >"$list.new"
    chmod 644 -- "$list.new"
    mv -f -- "$list.new" "$list"
    made=
}

# A number of $3 bytes at offset $2 of file $1, in the machine's own byte order; empty if it is not there.
number() {
    od -An -v "-tu$3" "-j$2" "-N$3" -- "$1" 2>/dev/null | tr -d ' \n'
}

# Fails if the ELF file $1 asks for a loader: that would obey its caller's files, as root.
# Read from the program headers, since neither file(1) nor readelf(1) may be here: see elf(5).
check_static() {
    # 0x7f, E, L, F; then 1 for 32 bits or 2 for 64.
    magic=$(od -An -v -tx1 -N5 -- "$1" | tr -d ' \n')
    case $magic in
        7f454c4602) table=$(number "$1" 32 8) size=$(number "$1" 54 2) count=$(number "$1" 56 2) ;;
        7f454c4601) table=$(number "$1" 28 4) size=$(number "$1" 42 2) count=$(number "$1" 44 2) ;;
        *) fail "$binary is not an ELF program" ;;
    esac
    [ "${count:-0}" -gt 0 ] || fail "$binary is not a complete ELF program"
    while [ "$count" -gt 0 ]; do
        count=$((count - 1))
        case $(number "$1" $((table + count * size)) 4) in
            3) fail "$binary is not statically linked: a set-user-id program must not have a loader" ;;
            '') fail "$binary is not a complete ELF program" ;;
        esac
    done
}

# Fails if directory $1, in which the file $2 is, is on a mount where the set-user-id bit, or file
# capabilities, count for nothing. By mount id: findmnt(8) may be missing, and statfs(2) is not for shells.
check_mount() {
    wanted=$(sed -n 's/^mnt_id:[[:space:]]*//p' /proc/self/fdinfo/9 9<"$2") || wanted=
    [ -n "$wanted" ] || fail "cannot find out how the filesystem of $1 is mounted: is /proc mounted?"
    what='the set-user-id bit has'
    [ -z "$capabilities" ] || what='file capabilities have'
    while read -r id _ _ _ _ options _; do
        [ "$id" = "$wanted" ] || continue
        case ,$options, in
            *,nosuid,*) fail "$1 is on a filesystem that is mounted nosuid: $what no effect there" ;;
            *,noexec,*) fail "$1 is on a filesystem that is mounted noexec: nothing can be run there" ;;
        esac
        return 0
    done </proc/self/mountinfo
    fail "cannot find out how the filesystem of $1 is mounted: it is not in /proc/self/mountinfo"
}

# Reads back what counts: some filesystems take a mode or an owner and do not keep it.
check_installed() {
    found=$(stat -c '%u %a %F' -- "$1")
    [ "$found" = "0 $2 regular file" ] || fail "$1 is not root's with mode $2 after all: $found"
    [ -z "$capabilities" ] || setcap -q -v "$CAPABILITIES" "$1" >/dev/null 2>&1 ||
        fail "$1 does not have its capabilities after all"
}

# --- removing, as root ----------------------------------------------------------------------------

uninstall() {
    list=$stage$manifest
    [ -f "$list" ] || fail "nothing to remove: there is no $list"
    guard "${list%/*}"
    [ "$(stat -c %u -- "$list")" = 0 ] || fail "$list is not root's"
    # Sorted backwards, what is in a directory comes before it.
    listed=$(LC_ALL=C sort -r <"$list")
    while read -r path; do
        entry=$stage$path
        if [ -d "$entry" ] && [ ! -L "$entry" ]; then
            # In use by others by now, if it is not empty.
            rmdir -- "$entry" 2>/dev/null || say "kept $entry: it is not empty"
        elif [ -e "$entry" ] || [ -L "$entry" ]; then
            guard "${entry%/*}"
            # A hard link to it may exist: see put_program.
            [ -L "$entry" ] || disarm "$entry"
            rm -f -- "$entry" || fail "cannot remove $entry"
        fi
    done <<END
$listed
END
    say "removed $stage$program"
}

# --- proof ----------------------------------------------------------------------------------------

# Runs the installed program as the invoking user, or, if that is root, as nobody.
prove() {
    uid=$(id -u) gid=
    [ -z "$group" ] || gid=$(stat -c %g -- "$program")
    if [ "$uid" -eq 0 ]; then
        uid=$UNPRIVILEGED
        find_way "$uid" "${gid:-$uid}"
    elif [ -n "$gid" ] && ! id -G | tr ' ' '\n' | grep -qx "$gid"; then
        say "you are not in group $group: until you are, and have logged in anew, you cannot run it"
        find_way "$uid" "$gid"
    else
        way=own
    fi
    # shellcheck disable=SC2016 # the shell inside is to expand it
    shown='selfdock run sh -c '\''echo $$ $(id -u)'\'
    # shellcheck disable=SC2016
    seen=$(cd / && by_way "$program" run sh -c 'echo $$ $(id -u)' 2>&1) || true
    [ "$seen" = "1 $uid" ] || fail "it is installed, but does not work here: $seen"
    say "it works: user $uid ran $shown and got \"$seen\""
}

# Sets way to one that can run a command as user $1 with group $2 on this machine.
find_way() {
    way_uid=$1 way_gid=$2
    for way in setpriv chroot su; do
        # nobody's own group is what su(1) gives.
        [ "$way" != su ] || [ -z "$group" ] || continue
        [ "$(by_way id -u 2>/dev/null)" != "$1" ] || return 0
    done
    fail "it is installed, but there is no way to try it as user $1: none of setpriv, chroot --userspec and su works"
}

by_way() {
    # shellcheck disable=SC2016 # the shell that su starts is to expand it
    case $way in
        own) "$@" ;;
        setpriv) $become setpriv --reuid "$way_uid" --regid "$way_gid" --clear-groups -- "$@" ;;
        chroot) $become chroot --userspec="$way_uid:$way_gid" --groups= / "$@" ;;
        su) su -s /bin/sh nobody -c '"$0" "$@"' -- "$@" ;;
    esac
}

main "$@"
