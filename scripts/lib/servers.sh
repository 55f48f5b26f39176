# Starts, loads and stops servers for the scripts beside this folder, which source it. Needs bash.
#
# Everything stays on loopback and below $dir, a new folder in cargo's target directory that is removed at the end, whatever the
# end is.
# shellcheck shell=bash

# shellcheck disable=SC2034 # the scripts use them
readonly accounts=10000 password=surabaya-1
dir='' server='' address='' result=''
# Load programs under way, by the name of their run.
declare -A loaders=()

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# One line that is written over by the next, for somebody who watches.
progress() { [ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2; }

# need_number OPTION VALUE: a whole number above 0.
need_number() { [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || die "$1 takes a number from 1 to 999999, not '$2'"; }

# option NAMES ARGUMENT...: takes `--name value` into the variable $name when it is one of these.
option() {
    [[ " $1 " == *" $2 "* ]] || die "no such option: $2 (see scripts/${0##*/} --help)"
    [ $# -gt 2 ] || die "$2 needs a value"
    local name=${2#--}
    printf -v "${name//-/_}" %s "$3"
}

# Builds what is measured and makes the folder. Ends the children at every exit.
prepare() {
    cargo build --quiet --release --locked -p chat-load -p chatd || die "the build failed"
    local target
    target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
    bin=$target/release
    dir=$(mktemp -d "$target/bench.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # Two thousand clients need as many open files, in the servers and in the load program.
    ulimit -n "$(ulimit -Hn)"
    export HOME=$dir
}

clean_up() {
    progress ''
    local name
    for name in "${!loaders[@]}"; do stop_child "${loaders[$name]}"; done
    stop_child "$server"
    [ -z "$dir" ] || rm -rf "$dir"
}

stop_child() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# make_accounts NUMBER CONFIG: imports so many into $dir/template, which each chatd starts with a copy of.
make_accounts() {
    printf '%s' "$2" >"$dir/chatd.toml"
    {
        echo username,name,password
        for ((n = 0; n < $1; n++)); do echo "user$n,User $n,$password"; done
    } >"$dir/accounts.csv"
    "$bin/chatd" user import "$dir/accounts.csv" --config "$dir/chatd.toml" --data "$dir/template" >"$dir/log" 2>&1 ||
        die "cannot import accounts: $(<"$dir/log")"
}

# Cheap password hashes, for where logins are not what is measured.
cheap_hashes() { printf '[passwords]\nmemory = "8 KiB"\npasses = 1\n'; }

# Whether a server can be run here; says what to install where it cannot.
is_installed() {
    case $1 in
    redis*) command -v redis-server >/dev/null || missing "$1" redis-server ;;
    ngircd) find_ngircd >/dev/null || missing "$1" ngircd ;;
    esac
}

missing() {
    echo "$1 left out: it is not installed (apt-get install $2)" >&2
    return 1
}

# It is in sbin, where the path of a user need not lead.
find_ngircd() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v ngircd; }

protocol_of() {
    case $1 in
    redis*) echo redis ;;
    ngircd) echo irc ;;
    *) echo chat ;;
    esac
}

# start NAME: on fresh files; sets $server and $address.
start() {
    rm -rf "$dir/data"
    case $1 in
    floor-echo) start_own "$1" "$bin/chat-load" floor echo ;;
    floor-durable)
        mkdir "$dir/data"
        start_own "$1" "$bin/chat-load" floor durable --file "$dir/data/lines"
        ;;
    chatd)
        cp -r "$dir/template" "$dir/data"
        start_own "$1" "$bin/chatd" --listen 127.0.0.1:0 --config "$dir/chatd.toml" --data "$dir/data" --log warn
        ;;
    redis-memory) start_peer "$1" ;;
    redis-always) start_peer "$1" ;;
    ngircd) start_peer "$1" ;;
    *) die "no such server: $1" ;;
    esac
}

# start_own NAME COMMAND...: one that takes a free port and says which.
start_own() {
    local name=$1
    shift
    : >"$dir/out"
    "$@" >"$dir/out" 2>"$dir/log" &
    server=$!
    for ((tries = 0; tries < 200; tries++)); do
        address=$(sed -n 's/^listening on //p' "$dir/out")
        [ -z "$address" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    die "$name does not start: $(<"$dir/log")"
}

# start_peer NAME: one that must be told its port. Taken ones are below those that the system gives to clients.
start_peer() {
    local port
    for ((attempt = 0; attempt < 5; attempt++)); do
        port=$((15000 + RANDOM % 15000))
        ! is_open "$port" || continue
        mkdir -p "$dir/data"
        run_peer "$1" "$port" >"$dir/log" 2>&1 &
        server=$!
        for ((tries = 0; tries < 200; tries++)); do
            kill -0 "$server" 2>/dev/null || break
            if is_open "$port"; then
                address=127.0.0.1:$port
                return 0
            fi
            sleep 0.05
        done
        stop
    done
    die "$1 does not start: $(<"$dir/log")"
}

is_open() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Becomes the server: the caller knows it by the process it started.
run_peer() {
    case $1 in
    redis-*)
        local log=(--appendonly no)
        # Rewriting its log would cost it, so it need not.
        [ "$1" = redis-memory ] || log=(--appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0)
        exec redis-server --bind 127.0.0.1 --port "$2" --dir "$dir/data" --save '' --maxclients 10000 "${log[@]}"
        ;;
    ngircd)
        # It greets each client with who it is, asks nobody else, and does not slow anybody down.
        printf '%s\n' '[Global]' 'Name = bench.localhost' 'Info = bench' 'Listen = 127.0.0.1' "Ports = $2" \
            'MotdPhrase = hello' '[Limits]' 'MaxConnections = 0' 'MaxConnectionsIP = 0' 'MaxNickLength = 20' \
            'MaxPenaltyTime = 0' 'PingTimeout = 3600' '[Options]' 'DNS = no' 'Ident = no' 'PAM = no' >"$dir/ngircd.conf"
        exec "$(find_ngircd)" --nodaemon --config "$dir/ngircd.conf"
        ;;
    esac
}

stop() {
    stop_child "$server"
    server=
}

# load SERVER OPTION...: starts the server, has one run against it and stops it; sets $result to the run's JSON. A run
# that fails is told and had once more.
load() {
    start "$1"
    begin_load only "$@"
    if ! end_load only; then
        stop
        start "$1"
        begin_load only "$@"
        end_load only || die "it failed twice"
    fi
    stop
}

# begin_load RUN SERVER OPTION...: against the server that runs; in the background, so that a signal to this script ends it at once.
begin_load() {
    local run=$1 name=$2
    shift 2
    "$bin/chat-load" --server "$address" --protocol "$(protocol_of "$name")" --pid "$server" --user-prefix user \
        --password $password --json "$@" >"$dir/$run.json" 2>"$dir/$run.log" &
    loaders[$run]=$!
}

end_load() {
    local status=0
    wait "${loaders[$1]}" || status=$?
    unset "loaders[$1]"
    result=$(<"$dir/$1.json")
    [ $status != 0 ] || return 0
    printf '%s: a run failed: %s\n' "${0##*/}" \
        "$(cat "$dir/$1.log") $(cut -c -2000 <<<"$result") $(tail -n 5 "$dir/log")" >&2
    return 1
}

# field NAME: of the last result, where it stands first: the figures of all kinds come before those of each.
field() { grep -o "\"$1\":[0-9.e+-]*" <<<"$result" | sed -n '1s/.*://p'; }

# median COLUMN FILE [PATTERN]: of the lines that begin with the pattern.
median() {
    awk -v column="$1" -v pattern="${3-}" 'index($0, pattern) == 1 && $column != "" { print $column }' "$2" | sort -g |
        awk '{ v[NR] = $1 } END { if (NR) print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# Functions of awk for cells of a table: thousands with commas; a ratio, or - where there is none.
# shellcheck disable=SC2034 # the scripts use it
readonly cells='
    function grouped(n) { return n < 1000 ? sprintf("%d", n) : grouped(int(n / 1000)) sprintf(",%03d", n % 1000) }
    function to(a, b, form) { return a != "" && b > 0 ? sprintf(form, a / b) : "-" }'

# What the figures come from, in one paragraph.
machine() {
    local model memory
    model=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
    memory=$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo 2>/dev/null)
    printf '%s cores%s%s, %s %s, files on %s' "$(nproc)" "${model:+ ($model)}" "${memory:+, $memory}" "$(uname -s)" \
        "$(uname -r)" "$(df --output=fstype "$dir" | tail -n 1)"
    printf '; %s' "$("$bin/chatd" --version)"
    printf ' (%s)' "$(git describe --always --dirty --abbrev=10 2>/dev/null || echo 'no git')"
}

# The versions of peers, where there are any.
version_of() {
    case $1 in
    redis*) redis-server --version | sed -n 's/.* v=\([^ ]*\).*/Redis \1/p' ;;
    ngircd) "$(find_ngircd)" --version | sed -n '1s/^ngIRCd \([0-9.]*\).*/ngIRCd \1/p' ;;
    esac
}

# write_between NAME FILE: what is on stdin, in place of what stands between the markers of this name.
write_between() {
    local begin="<!-- $1: begin -->" end="<!-- $1: end -->" new
    new=$(cat)
    has_markers "$1" "$2"
    NEW=$new awk -v begin="$begin" -v end="$end" '
        $0 == end { skipping = 0 }
        !skipping { print }
        $0 == begin { print ""; print ENVIRON["NEW"]; print ""; skipping = 1 }' "$2" >"$dir/page"
    cat "$dir/page" >"$2"
    echo "written into $2" >&2
}

has_markers() {
    [ -f "$2" ] || die "there is no $2: give --out another file, or - for the terminal"
    if ! grep -qxF "<!-- $1: begin -->" "$2" || ! grep -qxF "<!-- $1: end -->" "$2"; then
        die "$2 has no place for this table: put the lines '<!-- $1: begin -->' and '<!-- $1: end -->' there"
    fi
}
