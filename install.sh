#!/bin/sh
# Installs, upgrades and removes Portcullis. docs/install.md tells the rest.
set -eu
umask 022

usage() {
  cat <<'END'
Usage: install.sh [--prefix DIR] [--binary FILE] [--no-start] [--force] [--dry-run]
       install.sh --uninstall | --purge [--prefix DIR] [--dry-run]

Installs portcullis; run again with another version, it upgrades.
As root where systemd runs, that is a service of its own; elsewhere the program alone.

  --prefix DIR   install to DIR/bin (default: /usr/local as root, else ~/.local)
  --binary FILE  install that file; without it: a release file beside this script that
                 fits the machine, else what `npm run build` makes of this checkout
  --no-start     neither enable nor start the service, nor restart one that runs
  --force        put an older version in place of a newer one
  --uninstall    remove service and program; data, settings and user stay
  --purge        remove data, settings and user as well, after asking for a typed word
  --dry-run      say what would be done, and do nothing
  --help         print this
END
}

data=/var/lib/portcullis
unit=/etc/systemd/system/portcullis.service
ready_seconds_max=30

mode=install
prefix=
binary=
start=yes
force=
dry=
# What the trap has to clean up, or to take back.
changed=
top=
staged=
old_unit=
unsettled=
had_binary=
was_active=
restarted=
replaced_binary=
replaced_unit=

did() { printf '+ %s\n' "$*"; }
kept() { printf '= %s\n' "$*"; }
warn() { printf '! %s\n' "$*" >&2; }
die() {
  warn "$*"
  exit 1
}
bad_usage() {
  warn "$*"
  usage >&2
  exit 2
}
# Runs a step that changes something, unless it is only to be told.
try() {
  [ -z "$dry" ] || return 0
  changed=yes
  "$@"
}

# A folder as it is typed in a shell.
typed() {
  case $1 in
    *[!A-Za-z0-9/._+-]*) printf "'%s'" "$1" ;;
    *) printf '%s' "$1" ;;
  esac
}

while [ $# -gt 0 ]; do
  case $1 in
    --prefix=*) prefix=${1#*=} ;;
    --binary=*) binary=${1#*=} ;;
    --prefix | --binary)
      [ $# -gt 1 ] || bad_usage "$1 needs a value"
      if [ "$1" = --prefix ]; then prefix=$2; else binary=$2; fi
      shift
      ;;
    --no-start) start= ;;
    --force) force=yes ;;
    --dry-run) dry=yes ;;
    --uninstall) [ "$mode" = purge ] || mode=uninstall ;;
    --purge) mode=purge ;;
    --help | -h)
      usage
      exit 0
      ;;
    *) bad_usage "unknown: $1" ;;
  esac
  shift
done

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
path_of_caller=$PATH
# `su` leaves root without the folders that useradd is in.
PATH=$PATH:/usr/sbin:/usr/bin:/sbin:/bin

root=
systemd=
sudo=
# How somebody who is not root gets the service.
as_root=
[ "$(id -u)" != 0 ] || root=yes
[ -z "${SUDO_USER:-}" ] || sudo='sudo '
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
  if [ -n "$root" ]; then systemd=yes; else as_root="sudo sh $(typed "$here")/install.sh"; fi
fi

# Two at once would take back each other's steps.
if [ -n "$systemd" ] && [ -z "$dry" ] && command -v flock >/dev/null; then
  exec 9>/run/portcullis-install.lock
  flock -n 9 || {
    warn 'another install.sh is at work: wait until it is done. Nothing was changed.'
    exit 1
  }
fi

# An upgrade without --prefix goes where the service is.
if [ -z "$prefix" ] && [ -n "$systemd" ] && [ -f "$unit" ]; then
  prefix=$(sed -n 's|^ExecStart="*\(/.*\)/bin/portcullis"* serve.*|\1|p' "$unit" | head -n 1)
fi
if [ -z "$prefix" ]; then
  if [ -n "$root" ]; then prefix=/usr/local; else prefix=${HOME:?}/.local; fi
fi
case $prefix in
  /*) ;;
  *) prefix=$(pwd -P)/$prefix ;;
esac
bin=$prefix/bin
program=$bin/portcullis

# As the reader types its path; its name is enough where the shell finds it.
named=$(typed "$bin")/portcullis
command=$named
case ":$path_of_caller:" in *":$bin:"*) command=portcullis ;; *) ;; esac

#
# The program
#

version_of() { "$1" version --json 2>/dev/null | sed -n 's/^.*"version": *"\([^"]*\)".*$/\1/p' | head -n 1; }

# Whether version $1 is older than $2, as SemVer orders them (the parts of a pre-release by their letters).
older() {
  printf '%s\n%s\n' "$1" "$2" | awk '
    {
      sub(/\+.*/, "")
      dash = index($0, "-")
      pre[NR] = dash ? substr($0, dash + 1) : "~"
      split(dash ? substr($0, 1, dash - 1) : $0, part, ".")
      for (i = 1; i <= 3; i++) number[NR, i] = part[i] + 0
    }
    END {
      for (i = 1; i <= 3; i++) if (number[1, i] != number[2, i]) exit !(number[1, i] < number[2, i])
      exit !(pre[1] "" < pre[2] "")
    }'
}

machine() {
  case $(uname -m) in
    x86_64 | amd64) echo x64 ;;
    aarch64 | arm64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# What release files for this machine end in, the best first.
targets() {
  arch=$(machine)
  if [ "$(uname -s)" = Darwin ]; then
    echo "darwin-$arch"
    return
  fi
  libc=
  if ldd --version 2>&1 | grep -qi musl; then libc=-musl; fi
  if [ "$arch" != x64 ]; then
    echo "linux-$arch$libc"
    return
  fi
  if grep -q '^flags.* avx2' /proc/cpuinfo 2>/dev/null; then echo "linux-x64$libc"; fi
  echo "linux-x64$libc-baseline"
}

sha256_of() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1"
  elif command -v shasum >/dev/null; then
    shasum -a 256 <"$1"
  else
    openssl dgst -sha256 -r <"$1"
  fi | cut -d ' ' -f 1
}

# Holds $1 against the list beside it. $2: what to do when the list does not name it.
verify() {
  sums=$(dirname -- "$1")/SHA256SUMS
  [ -f "$sums" ] || return 0
  name=$(basename -- "$1")
  listed=$(name=$name awk '{ sum = $1; sub(/^[^ ]+ [ *]/, ""); if ($0 == ENVIRON["name"]) print sum }' "$sums")
  if [ -z "$listed" ]; then
    [ "$2" = accept ] || die "$sums does not name $name; if you trust it all the same: --binary $1"
    kept "$name is not in $sums, so nothing vouches for it"
    return 0
  fi
  found=$(sha256_of "$1")
  [ -n "$found" ] || die "$sums can't be checked: sha256sum, shasum or openssl is needed"
  [ "$found" = "$listed" ] || die "$1 is not what $sums says it is: download it again."
  did "checked $name against SHA256SUMS"
}

build() {
  command -v npm >/dev/null ||
    die "No program for this machine lies beside install.sh, and building it needs Node with npm, which is not" \
      "in the PATH. Install it, or build as another user (npm run build) and name the result: --binary FILE"
  did "built from $here (npm run build)"
  source=$here/dist/portcullis
  [ -z "$dry" ] || return 0
  owner=
  [ -z "$root" ] || owner=$(stat -c %U "$here" 2>/dev/null || echo root)
  # Root's own files in somebody's checkout would be in their way, and their scripts have no business as root.
  if [ -n "$root" ] && [ "$owner" != root ]; then
    # shellcheck disable=SC2016 # The other shell expands it.
    said=$(su "$owner" -s /bin/sh -c 'cd -- "$1" && npm run build' sh "$here" 2>&1) || die "the build failed: $said"
  else
    said=$(cd -- "$here" && npm run build 2>&1) || die "the build failed: $said"
  fi
}

# Finds what is to be installed, and leaves its path in `source`.
find_source() {
  if [ -n "$binary" ]; then
    [ -f "$binary" ] || die "--binary $binary: there is no such file"
    source=$binary
    verify "$source" accept
    return
  fi
  if [ -f "$here/portcullis" ]; then
    source=$here/portcullis
    verify "$source" refuse
    return
  fi
  fitting=$(targets)
  for target in $fitting; do
    set -- "$here"/portcullis-*-"$target"
    [ -f "$1" ] || continue
    [ $# = 1 ] || die "several versions lie beside install.sh; say which one: --binary FILE"
    source=$1
    verify "$source" refuse
    return
  done
  if [ -f "$here/package.json" ] && [ -d "$here/src" ]; then
    build
    return
  fi
  die "No program for this machine lies beside install.sh. Looked for: portcullis," \
    "$(printf '%s' "$fitting" | sed 's/^/portcullis-VERSION-/' | tr '\n' ' ') in $here. Or name one: --binary FILE"
}

# A shell would run what is no program of this machine as a script, so its head is read first.
check_head() {
  [ "$(uname -s)" = Linux ] || return 0
  case $(machine)-$(dd if="$1" bs=20 count=1 2>/dev/null | od -An -v -tx1 | tr -d ' \n') in
    x64-7f454c46*3e00 | arm64-7f454c46*b700) ;;
    *-7f454c46*) die "$source is for another processor; this one is $(uname -m)." ;;
    *) die "$source is not a program for Linux." ;;
  esac
  loader=$(dd if="$1" bs=4096 count=1 2>/dev/null | tr -c '[:print:]' '[\n*]' | grep '^/lib.*/ld-' | head -n 1) || :
  [ -z "$loader" ] || [ -e "$loader" ] || case $loader in
    *musl*) die "$source is for musl (Alpine); take the one without -musl." ;;
    *) die "$source needs $loader, which is not here: on musl (Alpine) take the one with -musl." ;;
  esac
}

# Nothing is put in place that does not run here. Leaves its version in `version`.
check_runs() {
  check_head "$1"
  code=0
  said=$("$1" version --json 2>&1) || code=$?
  version=$(printf '%s\n' "$said" | sed -n 's/^.*"version": *"\([^"]*\)".*$/\1/p' | head -n 1)
  [ "$code" != 0 ] || [ -n "$version" ] || die "$source is not portcullis: its \`version\` says: $said"
  [ "$code" != 0 ] || return 0
  said=$(printf '%s\n' "$said" | head -n 3)
  case $code-$said in
    132-*) die "$source needs a newer processor: take the one with -baseline, or one with SSE4.2 at least" ;;
    *libstdc++* | *libgcc*) die "$source lacks libraries: apk add libstdc++. It said: $said" ;;
    126-*) die "$1 may not be executed: is that file system mounted noexec?" ;;
    *) die "$source does not run here (exit $code): $said." ;;
  esac
}

# Copies it to where it will be, under another name, and tries it there: /tmp may be noexec.
stage() {
  version='(not tried)'
  if [ -n "$dry" ]; then
    if [ -x "$source" ]; then check_runs "$source"; elif [ -f "$source" ]; then check_head "$source"; fi
    return
  fi
  if [ ! -d "$bin" ]; then
    top=$bin
    while parent=$(dirname -- "$top") && [ ! -d "$parent" ]; do top=$parent; done
    mkdir -p -- "$bin" || die "$bin can't be made"
  fi
  staged=$bin/.portcullis.$$
  cp -- "$source" "$staged" || die "$bin can't be written to${as_root:+; with the rights: $as_root}"
  chmod 755 "$staged"
  check_runs "$staged"
}

# Compares with what is there. Leaves `same`, and `current`: its version, or nothing.
compare() {
  same=
  current=
  [ -e "$program" ] || return 0
  had_binary=yes
  current=$(version_of "$program") || :
  if cmp -s "${staged:-$source}" "$program"; then same=yes; fi
  if [ -n "$current" ] && [ -z "$force" ] && [ "$version" != '(not tried)' ] && older "$version" "$current"; then
    die "$version is older than the $current in $bin, and refuses its database once that was migrated." \
      "To go back all the same: --force"
  fi
}

put_program() {
  if [ -n "$same" ]; then
    kept "$program is $version already"
    return
  fi
  if [ -n "$had_binary" ]; then
    # It keeps its own name too, so that there is a program at every moment.
    try ln -f "$program" "$bin/.portcullis.previous.$$" 2>/dev/null ||
      cp -p -- "$program" "$bin/.portcullis.previous.$$"
    try mv -f -- "$bin/.portcullis.previous.$$" "$program.previous"
    did "kept the program that was there (${current:-which does not run}) as $program.previous"
  fi
  replaced_binary=yes
  try mv -f -- "$staged" "$program"
  did "put portcullis $version into $bin"
}

#
# The service
#

entry() {
  if command -v getent >/dev/null; then getent "$1" portcullis; else grep '^portcullis:' "/etc/$1"; fi
}

make_user() {
  if entry passwd >/dev/null; then
    kept 'user portcullis is there'
    return
  fi
  shell=/bin/false
  for candidate in /sbin/nologin /usr/sbin/nologin; do
    [ ! -x "$candidate" ] || shell=$candidate
  done
  if command -v useradd >/dev/null; then
    group=--user-group
    if entry group >/dev/null; then group='--gid portcullis'; fi
    # shellcheck disable=SC2086 # Two words, or one.
    try useradd --system $group --no-create-home --home-dir /nonexistent --shell "$shell" portcullis
  else
    try systemd-sysusers --inline "u portcullis - - /nonexistent $shell" 2>/dev/null ||
      die 'systemd-sysusers could not make user portcullis'
  fi
  did 'made user portcullis, which can not sign in'
}

# Refuses what the service could not live with, before anything is changed.
check_service() {
  [ ! -L "$unit" ] || die "$unit is a link: the service is masked, or not ours. First: systemctl unmask portcullis"
  case $prefix in
    *[!A-Za-z0-9/._+\ -]*) die "--prefix $prefix: for a service, letters, digits, blanks and / . _ + - only" ;;
  esac
  real=$prefix
  while [ ! -d "$real" ]; do real=$(dirname -- "$real"); done
  case $(cd -- "$real" && pwd -P)/ in
    /home/* | /root/* | /run/user/* | /tmp/* | /var/tmp/*)
      die "--prefix $prefix: the service sees no home folders and a /tmp of its own; take /usr/local or /opt/portcullis"
      ;;
  esac
  command -v useradd >/dev/null || command -v systemd-sysusers >/dev/null || entry passwd >/dev/null ||
    die 'neither useradd nor systemd-sysusers is here: make a user portcullis first'
  [ ! -e "$data.moved" ] ||
    die "$data.moved is there: Portcullis was moved from here to another machine. To begin anew, remove that first."
  [ -e "$data" ] || return 0
  [ -d "$data" ] || die "$data is in the way: it is not a folder"
  owner=$(stat -L -c %u "$data")
  if [ "$owner" = 0 ] || [ "$owner" = "$(id -u portcullis 2>/dev/null || :)" ]; then return 0; fi
  # A number without a name is what an uninstalled user leaves.
  name=$(awk -F : -v uid="$owner" '$3 == uid { print $1 }' /etc/passwd)
  [ -z "$name" ] || die "$data belongs to $name. If it is Portcullis's own: chown -R portcullis: $data, and again"
}

make_data() {
  if [ ! -d "$data" ]; then
    try mkdir -m 700 "$data"
    try chown portcullis: "$data"
    did "made $data, for portcullis alone"
    return
  fi
  kept "$data, with its settings and tokens"
  if [ -n "$dry" ] && ! entry passwd >/dev/null; then return 0; fi
  # Such as what root restored there.
  if [ -n "$(find "$data/." ! -user portcullis | head -n 1)" ]; then
    try chown -hR portcullis: "$data/."
    did "gave what is in $data to portcullis"
  fi
  if [ "$(stat -L -c %a "$data")" != 700 ]; then
    try chmod 700 "$data"
    did "closed $data to others"
  fi
}

unit_text() {
  case $program in
    *' '*) quoted="\"$program\"" ;;
    *) quoted=$program ;;
  esac
  cat <<END
# Written by install.sh, which replaces it. Changes of yours: systemctl edit portcullis
[Unit]
Description=Portcullis, the gate in front of MCP servers
Wants=network-online.target
After=network-online.target
# Put aside under that name, it was moved to another machine: a second one here would begin with nothing.
AssertPathExists=!$data.moved
StartLimitIntervalSec=20
StartLimitBurst=5

[Service]
Type=exec
User=portcullis
ExecStart=$quoted serve --data $data
# It is started once it answers (3: nothing does) or has ended, so that systemctl waits, and tells when it failed.
ExecStartPost=/bin/sh -c 'until "\$\$0" healthcheck --data $data 2>&1; \\
  [ \$\$? != 3 ] || ! kill -0 \$MAINPID 2>/dev/null; do sleep 0.2; done' $quoted
# Migrating a large database on a slow disk takes a while, and is no failure.
TimeoutStartSec=30min
# Certificates are read again. Not every system has /bin/kill.
ExecReload=/bin/sh -c 'kill -HUP "\$MAINPID"'
StateDirectory=portcullis
StateDirectoryMode=0700
# The log is on stderr. On stdout is the link that makes the first owner, which no journal should hold.
StandardOutput=null
StandardError=journal
Restart=on-failure
RestartSec=1
# A setting that was refused is refused again.
RestartPreventExitStatus=2
# It ends its own children, and needs five seconds at the most.
KillMode=mixed
TimeoutStopSec=15
# 50,000 connections, each with one to its server.
LimitNOFILE=131072
# Memory holds the credentials of the servers.
LimitCORE=0
# A command that takes too much memory ends alone: by default the kernel's choice would stop the whole unit.
OOMPolicy=continue

UMask=0077
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateMounts=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# MemoryDenyWriteExecute= stays off: the runtime compiles JavaScript to machine code.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @keyring @memlock @ipc @aio
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
END
}

# The last line holds a checksum of those above, so that a change by hand is seen.
sealed_unit() {
  unit_text
  printf '# cksum %s\n' "$(unit_text | cksum)"
}
edited() { [ "$(sed -n '$p' "$unit")" != "# cksum $(sed '$d' "$unit" | cksum)" ]; }

keep_edited_unit() {
  edited || return 0
  copy=$unit.edited
  number=1
  while [ -e "$copy" ]; do
    number=$((number + 1))
    copy=$unit.edited.$number
  done
  try cp -p "$unit" "$copy"
  warn "$unit was changed by hand. Your version is kept as $copy;"
  warn 'bring your changes back with: systemctl edit portcullis'
}

put_unit() {
  if [ -f "$unit" ] && sealed_unit | cmp -s - "$unit"; then
    kept "$unit"
    return
  fi
  if [ -f "$unit" ]; then
    keep_edited_unit
    try cp -p "$unit" "$old_unit"
  fi
  replaced_unit=yes
  if [ -z "$dry" ]; then
    sealed_unit >"$unit.$$"
    mv -f "$unit.$$" "$unit"
    systemctl daemon-reload
  fi
  did "wrote $unit"
}

# What it says is left in `health`.
healthy() {
  waited=0
  until health=$("$program" healthcheck --json --data "$data" 2>&1); do
    waited=$((waited + 1))
    [ "$waited" -le "$ready_seconds_max" ] && systemctl --quiet is-active portcullis || return 1
    sleep 1
  done
}

# Starts or restarts, and waits until it is ready.
bring_up() {
  restarted=yes
  systemctl reset-failed portcullis 2>/dev/null || :
  systemctl restart portcullis 2>/dev/null && healthy
}

show_log() {
  warn 'the last lines of its log (journalctl -u portcullis):'
  journalctl -u portcullis -n 10 --no-pager -o cat 2>/dev/null | sed 's/^/    /' >&2 || :
}

# Takes back what was begun: a service that ran before runs again.
go_back() {
  unsettled=
  # Only the newer one can read what it made of the database.
  copy=$data/portcullis.db.before-$version
  if [ -n "$replaced_binary" ]; then
    if [ -n "$had_binary" ]; then
      [ ! -e "$copy" ] || mv -f "$program" "$program.failed"
      # The same file under two names, when it was never replaced.
      mv -f "$program.previous" "$program" || :
      warn "put ${current:-the previous program} back into $bin"
    else
      rm -f "$program"
      warn "took portcullis out of $bin again"
    fi
  fi
  if [ -n "$replaced_unit" ]; then
    if [ -s "$old_unit" ]; then cp -p "$old_unit" "$unit"; else rm -f "$unit"; fi
    systemctl daemon-reload || :
    warn "put $unit back to what it was"
  fi
  # One that was not even restarted still runs.
  [ -n "$restarted" ] || return 0
  if bring_up; then
    warn "$current runs again. $version was not installed."
    return 0
  fi
  warn "AND $current DOES NOT RUN EITHER: NOTHING PASSES THE GATE NOW."
  show_log
  [ -e "$copy" ] && [ -n "$replaced_binary" ] || return 0
  warn "$version had changed the database, and $current can not read it any more. Nothing is lost. This puts back the"
  warn 'database of before, where all that was revoked since stays revoked:'
  cat >&2 <<END
    ${sudo}systemctl stop portcullis
    ${sudo}$named.failed restore $copy --data $data
    ${sudo}systemctl reset-failed portcullis
    ${sudo}systemctl start portcullis
END
}

field() { printf '%s\n' "$health" | sed -n "s/^ *\"$1\": *\"\([^\"]*\)\".*$/\1/p" | head -n 1; }

say_next() {
  gate=$(field gateUrl)
  console=$(field consoleUrl)
  printf '\nPortcullis %s runs: gate %s, console %s\n' "$version" "$gate" "$console"
  if link=$("$program" setup --json --data "$data" 2>/dev/null | sed -n 's/^.*"url": *"\([^"]*\)".*$/\1/p') &&
    [ -n "$link" ]; then
    printf '\nNext: make the first owner. This link works once, for an hour:\n    %s\n' "$link"
    printf 'Another one: %s%s setup\n' "$sudo" "$command"
    port=${console##*:}
    case $console in
      http://127.0.0.1:*)
        printf 'From another machine, let this run there meanwhile:\n'
        printf '    ssh -L %s:127.0.0.1:%s %s@%s\n' "$port" "$port" "${SUDO_USER:-root}" "$(uname -n)"
        ;;
      *) ;;
    esac
    printf '\nThen a server, and a token for each client:\n'
    printf '    %s%s server add github http://127.0.0.1:3001\n' "$sudo" "$command"
    printf '    %s%s token create "Cursor IDE" --server github\n' "$sudo" "$command"
  fi
  printf '\nSettings  %s/portcullis.toml, then: %ssystemctl restart portcullis\n' "$data" "$sudo"
  printf 'Log       %sjournalctl -u portcullis\n' "$sudo"
  if [ -e "$data/portcullis.db.before-$version" ]; then
    printf 'Back      the database was changed: see "Going back" in docs/upgrade.md\n'
  elif [ -n "$replaced_binary" ] && [ -n "$had_binary" ]; then
    printf 'Back      %ssh %s/install.sh --binary %s.previous --force\n' "$sudo" "$(typed "$here")" "$named"
  fi
}

install_service() {
  check_service
  stage
  compare
  old_unit=$(mktemp)
  fresh=yes
  [ ! -f "$unit" ] || fresh=
  state=$(systemctl is-active portcullis) || :
  # One that failed is wanted, and may be what this is to mend.
  case $state in active | activating | failed) was_active=yes ;; *) ;; esac
  make_user
  make_data
  [ -n "$dry" ] || unsettled=yes
  put_program
  put_unit
  if [ -n "$fresh" ]; then
    unsettled=
    if [ -z "$start" ]; then
      kept "portcullis.service is neither enabled nor started: ${sudo}systemctl enable --now portcullis"
      return
    fi
    try systemctl --quiet enable portcullis
    did 'enabled portcullis.service: it starts with the machine'
  elif [ -z "$was_active" ]; then
    unsettled=
    kept "portcullis.service was not running and stays so: ${sudo}systemctl enable --now portcullis"
    return
  elif [ -z "$replaced_binary$replaced_unit" ]; then
    unsettled=
    if healthy; then
      kept 'portcullis.service runs, and was not restarted'
      [ -n "$dry" ] || say_next
      return
    fi
  elif [ -z "$start" ]; then
    unsettled=
    kept "portcullis.service runs as it was until: ${sudo}systemctl restart portcullis"
    return
  fi
  if [ -n "$dry" ]; then
    did 'started portcullis.service, and waited until it is ready'
    return
  fi
  if bring_up; then
    unsettled=
    did 'started portcullis.service; it is ready'
    remove "$program.failed"
    say_next
    return
  fi
  warn "portcullis $version does not get ready. ${health:-}"
  show_log
  [ -n "$unsettled" ] || warn "It is installed; mend what the log says, then: ${sudo}systemctl restart portcullis"
  exit 1
}

#
# The program alone
#

install_program() {
  stage
  compare
  put_program
  [ -z "$dry" ] || return 0
  if [ -n "$root" ]; then
    printf '\nNo systemd runs here, so there is no service. Let it run as a user of its own, under what starts\n'
    printf 'services here:\n    %s serve --data %s\n' "$command" "$data"
  else
    printf '\nStart it:\n    %s serve\n' "$command"
  fi
  [ "$command" = portcullis ] || printf '%s is not in your PATH: type the whole name, as above.\n' "$bin"
  [ -z "$as_root" ] || printf 'It ends when you stop it. As a service, which starts with the machine: %s\n' "$as_root"
  [ -z "$current" ] || [ -n "$same" ] || printf 'One that runs goes on as %s until you start it again.\n' "$current"
}

#
# Removing
#

remove() {
  if [ -e "$1" ]; then
    try rm -rf -- "$1" || die "$1 can't be removed"
    did "removed $1"
  fi
}

remove_service() {
  [ -f "$unit" ] || return 0
  try systemctl --quiet disable --now portcullis || die 'portcullis.service could not be stopped'
  did 'stopped and disabled portcullis.service'
  keep_edited_unit
  remove "$unit"
  try systemctl daemon-reload
  try systemctl reset-failed portcullis 2>/dev/null || :
}

ask_word() {
  printf 'This deletes %s: tokens, revocations, the audit log, settings and keys are gone for good.\n' "$data"
  printf 'To keep them, stop here, and make a backup while the node runs:\n    %s%s backup FILE\n' "$sudo" "$command"
  [ -z "$dry" ] || return 0
  printf 'Type purge to delete it all: '
  word=
  read -r word || :
  [ "$word" = purge ] || die 'That is not purge.'
}

purge_data() {
  [ -e "$data" ] || return 0
  real=$(cd -- "$data" && pwd -P)
  # A mount point itself can't go; what is in it must.
  try rm -rf -- "$real" 2>/dev/null || [ -z "$(ls -A "$real")" ] || die "$real can't be removed"
  [ ! -L "$data" ] || try rm -f -- "$data"
  did "removed $data"
}

purge_user() {
  # Only one that install.sh made.
  case $(entry passwd || :) in *:/nonexistent:*) ;; *) return 0 ;; esac
  command -v userdel >/dev/null || {
    kept 'user portcullis: no userdel is here'
    return 0
  }
  try userdel portcullis
  # It takes the group along, unless the system says otherwise.
  if [ -z "$dry" ] && entry group >/dev/null; then groupdel portcullis; fi
  did 'removed user portcullis'
}

# Whether one runs on the data, ready (0) or not (1).
answers() {
  code=0
  "$program" healthcheck --data "$data" >/dev/null 2>&1 || code=$?
  [ "$code" -le 1 ]
}

uninstall() {
  if [ -z "$systemd" ] && [ -z "$root" ]; then data=${XDG_STATE_HOME:-$HOME/.local/state}/portcullis; fi
  if [ "$mode" = purge ]; then
    # The service is stopped with the rest; one that was started by hand would go on with what is deleted.
    { [ -n "$systemd" ] && systemctl --quiet is-active portcullis; } || ! answers ||
      die "portcullis runs on $data: stop it first."
    ask_word
  fi
  [ -z "$systemd" ] || remove_service
  for file in "$program" "$program.previous" "$program.failed"; do remove "$file"; done
  if [ "$mode" = purge ]; then
    purge_data
    [ -n "$systemd" ] || return 0
    for left in "$unit.d" "$unit".edited*; do remove "$left"; done
    purge_user
    return
  fi
  [ ! -e "$data" ] || kept "$data: settings, tokens, revocations and keys; a new install finds them"
  [ -z "$systemd" ] || ! entry passwd >/dev/null || kept 'user portcullis'
  for left in "$unit.d" "$unit".edited*; do [ ! -e "$left" ] || kept "$left, which is yours"; done
}

clean_up() {
  code=$?
  trap - EXIT HUP INT TERM
  [ -z "$unsettled" ] || go_back
  [ "$code" = 0 ] || [ -n "$changed" ] || warn 'Nothing was changed.'
  [ -z "$staged" ] || rm -f -- "$staged"
  [ -z "$old_unit" ] || rm -f -- "$old_unit" "$unit.$$"
  rm -f -- "$bin/.portcullis.previous.$$"
  while [ -n "$top" ]; do
    # Folders that were made for nothing; others are not empty, and stay.
    folder=$bin
    while rmdir -- "$folder" 2>/dev/null && [ "$folder" != "$top" ]; do folder=$(dirname -- "$folder"); done
    top=
  done
  exit "$code"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

[ -z "$dry" ] || echo 'Dry run: this would be done, and nothing is.'
if [ "$mode" != install ]; then
  uninstall
  exit 0
fi
find_source
if [ -n "$systemd" ]; then install_service; else install_program; fi
