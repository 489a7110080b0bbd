#!/bin/sh
# Installs what lies beside it, on a host whose packages are none of ours. See --help.
set -eu

usage() {
  cat <<'TEXT'
usage: ./install.sh [--agent] [--collector] [--heap] [OPTIONS]     install, or upgrade what is there
       ./install.sh --uninstall [--purge] [OPTIONS]                remove it again

  --agent        the agent of a host: samples at once, ships to the collector in /etc/flamekeeper/agent.toml
  --collector    collector, page and command line: on the loopback interface, until /etc/flamekeeper/collector.toml says otherwise
  --heap         the library for programs whose live heap is to be sampled
  --prefix DIR   where programs, manual pages and completions go [/usr/local]
  --no-start     neither enable nor start anything
  --root DIR     install into the files of another system below DIR: nothing is started
  --purge        with --uninstall: configuration and data too, whatever was changed
  --help         this

Units go to /etc/systemd/system, configuration to /etc/flamekeeper. A configuration that was changed is never overwritten: the new
default then lies beside it as FILE.new. Nothing is downloaded. Users are made by systemd while a unit runs (DynamicUser=).
TEXT
}
fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }
say() { printf '%s\n' "$*"; }

parts='' prefix=/usr/local root='' start=yes action=install purge=no
while [ $# -gt 0 ]; do
  case $1 in
    --agent | --collector | --heap) parts="$parts ${1#--}" ;;
    --prefix) [ $# -gt 1 ] || fail "--prefix needs a directory"; prefix=$2; shift ;;
    --prefix=*) prefix=${1#*=} ;;
    --root) [ $# -gt 1 ] || fail "--root needs a directory"; root=$2; shift ;;
    --root=*) root=${1#*=} ;;
    --no-start) start=no ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "there is no option '$1'" ;;
  esac
  shift
done
case $prefix in /*) ;; *) fail "--prefix must be an absolute path, not '$prefix'" ;; esac
prefix=${prefix%/} root=${root%/}
here=$(cd "$(dirname "$0")" && pwd)
known=$root$prefix/share/flamekeeper

checks() {
  [ "$(uname -s)" = Linux ] || fail "this is for Linux, and here is $(uname -s)"
  built=$(cat "$here/architecture")
  [ "$(uname -m)" = "$built" ] || fail "these programs are for $built, and here is $(uname -m): take the archive for that"
  [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "this needs root: sudo $0 ..."
  [ -z "$root" ] || [ -d "$root" ] || fail "there is no directory $root"
  command -v sha256sum >/dev/null || fail "sha256sum is missing, by which changed configuration is known"
  if [ -z "$root" ] && [ "$start" = yes ] && ! [ -d /run/systemd/system ]; then
    fail "systemd does not run here: with --no-start only files are installed; then run the programs by your own supervisor"
  fi
}

# unit_of PART, state_of PART
unit_of() { case $1 in agent) echo flamekeeper-agent.service ;; collector) echo flamekeeper-collector.service ;; esac; }
state_of() { case $1 in agent) echo flamekeeper-agent ;; collector) echo flamekeeper-collector ;; esac; }

# Where a file of an archive's tree goes.
place_of() {
  case $1 in
    usr/lib/systemd/system/*) echo "/etc/systemd/system/${1##*/}" ;;
    usr/lib/sysctl.d/*) echo "/etc/sysctl.d/${1##*/}" ;;
    usr/*) echo "$prefix/${1#usr/}" ;;
    *) echo "/$1" ;;
  esac
}
sum_of() { sha256sum <"$1" | cut -d ' ' -f 1; }
# What was installed at this place before, by its sum; nothing where it is not known.
sum_before() { [ ! -f "$known/$1" ] || sed -n "s|^\([0-9a-f]*\)  $2\$|\1|p" "$known/$1"; }
is_configuration() { case $1 in /etc/flamekeeper/*) true ;; *) false ;; esac; }

# put FILE PLACE: in one step, so that a program that runs is not written to.
put() {
  mkdir -p "$root$(dirname "$2")"
  cp "$1" "$root$2.installing"
  if [ -x "$1" ]; then chmod 755 "$root$2.installing"; else chmod 644 "$root$2.installing"; fi
  mv "$root$2.installing" "$root$2"
}

install_part() {
  part=$1 unit=$(unit_of "$1") list=$known/$1.installing
  [ -d "$here/$part" ] || fail "this archive has no $part"
  if [ -n "$unit" ]; then
    for place in /usr/lib/systemd/system /lib/systemd/system; do
      [ ! -e "$root$place/$unit" ] || fail "a package has installed $place/$unit: remove that package first, or upgrade by it"
    done
  fi
  mkdir -p "$known"
  : >"$list"
  (cd "$here/$part" && find . -type f | sed 's|^\./||' | sort) | while IFS= read -r file; do
    place=$(place_of "$file") from=$here/$part/$file
    case $file in
      usr/lib/systemd/*)
        sed "s|/usr/bin/flamekeeper|$prefix/bin/flamekeeper|g; s|/usr/share/|$prefix/share/|g" "$from" >"$known/unit.installing"
        from=$known/unit.installing
        ;;
    esac
    sum=$(sum_of "$from")
    if is_configuration "$place" && [ -e "$root$place" ]; then
      before=$(sum_before "$part" "$place") now=$(sum_of "$root$place")
      if [ "$now" != "$before" ] && [ "$now" != "$sum" ]; then
        if [ "$before" != "$sum" ]; then
          put "$from" "$place.new"
          say "kept $place, which was changed here; the new default is $place.new"
        fi
        printf '%s  %s\n' "$sum" "$place" >>"$list"
        continue
      fi
    fi
    put "$from" "$place"
    printf '%s  %s\n' "$sum" "$place" >>"$list"
  done
  # What an earlier version had and this one has not.
  if [ -f "$known/$part" ]; then
    sed 's|^[0-9a-f]*  ||' "$known/$part" | while IFS= read -r place; do
      grep -q "  $place\$" "$list" || is_configuration "$place" || rm -f "$root$place"
    done
  fi
  rm -f "$known/unit.installing"
  mv "$list" "$known/$part"
  say "installed $part below ${root}${prefix}"
  [ "$start" = no ] || [ -z "$unit" ] || start_unit "$part" "$unit"
}

start_unit() {
  if [ -n "$root" ]; then
    systemctl --quiet --root="$root" enable "$2"
    return
  fi
  level=$(cat /proc/sys/kernel/perf_event_paranoid 2>/dev/null || echo 0)
  # Now, not only from the next boot on. A lower value is somebody's wish.
  if [ "$1" = agent ] && [ "$level" -gt 2 ]; then echo 2 >/proc/sys/kernel/perf_event_paranoid || true; fi
  systemctl daemon-reload
  systemctl --quiet enable "$2"
  systemctl restart "$2" || fail "$2 does not start; 'journalctl -u $2' says why"
  say "started $2"
}

# empty_away DIR: directories of our own go when they are empty, and nobody else's.
empty_away() {
  folder=$1
  while case $folder in */flamekeeper*) true ;; *) false ;; esac; do
    rmdir "$root$folder" 2>/dev/null || return 0
    folder=$(dirname "$folder")
  done
}

uninstall_part() {
  part=$1 unit=$(unit_of "$1") state=$(state_of "$1")
  [ -f "$known/$part" ] || return 0
  if [ -n "$unit" ] && [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl --quiet disable --now "$unit" || true; fi
  if [ -n "$unit" ] && [ -n "$root" ]; then systemctl --quiet --root="$root" disable "$unit" || true; fi
  while read -r sum place; do
    if is_configuration "$place"; then
      if [ "$purge" = no ] && [ -e "$root$place" ] && [ "$(sum_of "$root$place")" != "$sum" ]; then
        say "kept $place, which was changed here"
        continue
      fi
      rm -f "$root$place.new"
    fi
    rm -f "$root$place"
    empty_away "$(dirname "$place")"
  done <"$known/$part"
  rm -f "$known/$part"
  rmdir "$known" 2>/dev/null || true
  if [ "$purge" = yes ] && [ -n "$state" ]; then
    # The unit has DynamicUser=yes: its state lies here, behind a link of the same name.
    rm -rf "$root/var/lib/private/$state"
    rm -f "$root/var/lib/$state"
  fi
  [ -n "$root" ] || ! [ -d /run/systemd/system ] || systemctl daemon-reload
  say "removed $part"
}

[ "$action" = uninstall ] || [ -n "$parts" ] || { usage >&2; fail "say what this host is to have: --agent, --collector, or both"; }
checks
if [ "$action" = uninstall ]; then
  for part in ${parts:-agent collector heap}; do uninstall_part "$part"; done
  [ "$purge" = yes ] || say "data is left in /var/lib/private/flamekeeper-*; --purge takes it too"
else
  for part in $parts; do install_part "$part"; done
fi
