#!/usr/bin/env bash
# A Docker engine of this project's own, from Debian's packages, for machines that run none.
#
#   engine.sh start [--install]   start it and print the line that points DOCKER_HOST at it
#   engine.sh status              print the same line, or fail when it does not answer
#   engine.sh stop                stop it; images stay
#
# Everything is kept below $SWE_HARNESS_ENGINE (default: ~/.cache/swe-harness/engine). --install
# first installs missing packages with apt-get. Where another engine runs, this one leaves its
# bridge and firewall rules alone and takes a bridge of its own on $SWE_HARNESS_ENGINE_SUBNET.
set -euo pipefail

state=${SWE_HARNESS_ENGINE:-${XDG_CACHE_HOME:-$HOME/.cache}/swe-harness/engine}
subnet=${SWE_HARNESS_ENGINE_SUBNET:-172.30.77.1/24}
socket=$state/docker.sock
pid_file=$state/docker.pid
log=$state/dockerd.log
bridge=swe-$(cksum <<<"$state" | cut -d' ' -f1)
seconds=60

fail() {
    echo "engine.sh: $*" >&2
    exit 1
}

pid() { # of our dockerd, when it lives
    local found
    found=$(cat "$pid_file" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$found/cmdline" 2>/dev/null | grep -qF -- "$pid_file" || return 1
    echo "$found"
}

answers() {
    python3 - "$socket" 2>/dev/null <<'PING'
import socket, sys
with socket.socket(socket.AF_UNIX) as engine:
    engine.settimeout(5)
    engine.connect(sys.argv[1])
    engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
    sys.exit(b" 200 " not in engine.recv(64))
PING
}

install() {
    local packages=()
    command -v dockerd >/dev/null || packages+=(docker.io)
    command -v iptables >/dev/null || packages+=(iptables)
    command -v ip >/dev/null || packages+=(iproute2)
    command -v debootstrap >/dev/null || packages+=(debootstrap)
    [ ${#packages[@]} -eq 0 ] && return
    apt-get update -q >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        "${packages[@]}" >&2
}

firewall() { # -A or -D: let the own bridge reach the network through this machine
    local table rule
    while read -r table rule; do
        # shellcheck disable=SC2086
        if [ "$1" = -D ] || ! iptables -w -t "$table" -C $rule 2>/dev/null; then
            iptables -w -t "$table" "$1" $rule 2>/dev/null || [ "$1" = -D ]
        fi
    done <<RULES
nat POSTROUTING -s $subnet ! -o $bridge -j MASQUERADE
filter FORWARD -i $bridge -j ACCEPT
filter FORWARD -o $bridge -j ACCEPT
RULES
}

start() {
    local options=()
    case ${1-} in
        "") ;;
        --install) install ;;
        *) fail "start knows --install only, not '$1'" ;;
    esac
    if pid >/dev/null; then
        status
        return
    fi
    [ "$(id -u)" -eq 0 ] || fail "an engine is started by root"
    [ ${#state} -le 60 ] || fail "$state is too long for Unix sockets: set SWE_HARNESS_ENGINE"
    command -v dockerd >/dev/null || fail "no dockerd here: apt-get install docker.io, or --install"
    mkdir -p "$state"
    rm -f "$pid_file" "$socket"
    if pgrep -x dockerd >/dev/null; then
        ip link show "$bridge" >/dev/null 2>&1 || ip link add "$bridge" type bridge
        ip addr replace "$subnet" dev "$bridge"
        ip link set "$bridge" up
        firewall -A
        options=(--bridge "$bridge" --iptables=false)
    fi
    setsid dockerd --data-root "$state/data" --exec-root "$state/run" --pidfile "$pid_file" \
        --containerd-namespace swe-harness --containerd-plugins-namespace swe-harness-plugins \
        --host "unix://$socket" "${options[@]}" >"$log" 2>&1 </dev/null &
    local engine=$!
    for ((waited = 0; waited < seconds; waited++)); do
        if answers; then
            status
            return
        fi
        kill -0 "$engine" 2>/dev/null || break
        sleep 1
    done
    tail -n 20 "$log" >&2
    fail "the engine does not answer; its log is $log"
}

status() {
    answers || fail "no engine answers at $socket: start it with $0 start"
    echo "export DOCKER_HOST=unix://$socket"
}

stop() {
    local engine
    if engine=$(pid); then
        kill "$engine"
        for ((waited = 0; waited < seconds; waited++)); do
            kill -0 "$engine" 2>/dev/null || break
            sleep 1
        done
        kill -KILL "$engine" 2>/dev/null || true
    fi
    if ip link show "$bridge" >/dev/null 2>&1; then
        firewall -D
        ip link delete "$bridge"
    fi
}

case ${1-} in
    start | stop | status) "$@" ;;
    *) fail "usage: engine.sh start [--install] | status | stop" ;;
esac
