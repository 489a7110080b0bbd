# What is in each package, whatever its format: sourced by build-debs and build-rpms, which set
#   binaries  the folder of the programs       heap             the library for LD_PRELOAD
#   tree      a folder for what is made        zsh_completions  where this kind of system has them
# and by this each package's files come to lie under `$tree/PACKAGE`, as they are installed.

# The time of what is packed: the same input gives the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH

# The version of the programs, as Cargo.toml has it.
own_version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1; }

# put MODE FROM TO: a file of the package.
put() { install -D -m "$1" "$2" "$root/$3"; }
packed() { gzip -9n <"$1" >"$tree/packed" && put 644 "$tree/packed" "$2.gz"; }

# program NAME: the program without its debug sections; the symbol table stays, so that it can name itself in profiles.
program() {
  strip --strip-debug -o "$tree/program" "$binaries/$1"
  put 755 "$tree/program" "usr/bin/$1"
  put 644 "$tree/generated/completions/$1.bash" "usr/share/bash-completion/completions/$1"
  put 644 "$tree/generated/completions/_$1" "$zsh_completions/_$1"
  put 644 "$tree/generated/completions/$1.fish" "usr/share/fish/vendor_completions.d/$1.fish"
}

documents() {
  local doc=usr/share/doc/$package document
  put 644 packaging/copyright "$doc/copyright"
  packed CHANGELOG.md "$doc/changelog"
  for document in README.md docs/operating.md docs/security.md; do put 644 "$document" "$doc/$(basename "$document")"; done
}

stage_agent() {
  program flamekeeper-agent
  packed "$tree/generated/man/flamekeeper-agent.8" usr/share/man/man8/flamekeeper-agent.8
  put 644 systemd/flamekeeper-agent.service usr/lib/systemd/system/flamekeeper-agent.service
  put 644 systemd/60-flamekeeper-agent.conf usr/lib/sysctl.d/60-flamekeeper-agent.conf
  put 644 systemd/agent.toml etc/flamekeeper/agent.toml
  put 644 systemd/drop-ins/java-perf-map.conf "usr/share/doc/$package/examples/java-perf-map.conf"
}

stage_collector() {
  local page file
  program flamekeeper
  for page in "$tree"/generated/man/*.1; do packed "$page" "usr/share/man/man1/$(basename "$page")"; done
  put 644 systemd/flamekeeper-collector.service usr/lib/systemd/system/flamekeeper-collector.service
  put 644 systemd/collector.toml etc/flamekeeper/collector.toml
  for file in packaging/monitoring/*; do put 644 "$file" "usr/share/doc/$package/examples/$(basename "$file")"; done
}

# stage PACKAGE: its files, in $root.
stage() {
  package=$1 root=$tree/$1
  mkdir -p "$root"
  [ -d "$tree/generated" ] || "$binaries/flamekeeper" package-files "$tree/generated"
  case $package in
    flamekeeper-agent) stage_agent ;;
    flamekeeper) stage_collector ;;
    flamekeeper-heap) put 644 "$heap" usr/lib/flamekeeper/libflamekeeper_heap.so ;;
  esac
  documents
}

# Gives all of the package the same time, and everybody the right to read it.
level() {
  find "$root" -print0 | xargs -0 touch -h -d "@$SOURCE_DATE_EPOCH"
  chmod -R u+rwX,go+rX,go-w "$root"
}
