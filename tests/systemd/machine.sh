#!/bin/bash
# machine.sh boot TREE RUNDIR [nspawn options...]   boot TREE under a real systemd; TREE is never written to
# machine.sh exec RUNDIR CMD...                     run a command inside, as root
# machine.sh unit RUNDIR CMD...                     same, as a transient unit (own cgroup, output piped back)
# machine.sh stop RUNDIR                            orderly poweroff, then whatever is left
# machine.sh kill RUNDIR                            no shutdown: like pulling the plug
# RUNDIR keeps: pid (nspawn), leader, console.log, cg (cgroup name)
set -euo pipefail
verb=$1; shift
cgroots() { awk '$3=="cgroup2"{print $2} $3=="cgroup" && $4~/name=systemd/{print $2}' /proc/mounts | sort -u; }
leader_of() { # first child of nspawn whose comm is systemd (the stub before exec is still nspawn)
  local k; for k in $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
    [ "$(cat "/proc/$k/comm" 2>/dev/null)" = systemd ] && { echo "$k"; return 0; }; done; return 1; }
inside() { nsenter -t "$1" -m -u -i -n -p -C -r -w -- env -i LANG=C.UTF-8 HOME=/root TERM=dumb \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_COLORS=0 SYSTEMD_PAGER= "${@:2}"; }
case $verb in
boot)
  tree=$(readlink -f "$1") run=$2; shift 2
  net=--private-network; case " $* " in *" --network-"*) net=;; esac
  mkdir -p "$run"; run=$(readlink -f "$run"); rm -f "$run"/pid "$run"/leader
  cg=rq-test-$$-$RANDOM; echo "$cg" >"$run/cg"
  for r in $(cgroots); do mkdir -p "$r/$cg"; done
  # a cgroup of its own, or two containers would share /payload; a tmpfs on
  # /run/systemd of a private mount namespace, or nspawn leaves its folders behind
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0 RQ_RUN=$run \
  setsid unshare -m --propagation private bash -c '
    for r in '"$(cgroots | tr '\n' ' ')"'; do echo $$ >"$r/'"$cg"'/cgroup.procs"; done
    mkdir -p /run/systemd && mount -t tmpfs -o mode=755 tmpfs /run/systemd
    echo $$ >"$RQ_RUN/pid"
    exec systemd-nspawn "$@"' _ \
    -D "$tree" --boot --volatile=overlay --machine="$cg" --register=no --keep-unit \
    $net --console=read-only --link-journal=no \
    --capability=all --system-call-filter='bpf @memlock @keyring @resources' --resolv-conf=off --timezone=off "$@" \
    </dev/null >"$run/console.log" 2>&1 &
  for _ in $(seq 300); do
    if [ -s "$run/pid" ]; then
      p=$(cat "$run/pid"); [ -d "/proc/$p" ] || { cat "$run/console.log" >&2; exit 1; }
      if l=$(leader_of "$p"); then echo "$l" >"$run/leader"; break; fi
    fi; sleep 0.05
  done
  l=$(cat "$run/leader")
  for _ in $(seq 300); do
    s=$(inside "$l" systemctl is-system-running 2>/dev/null || true)
    case $s in running|degraded) echo "$s"; exit 0;; esac
    sleep 0.05
  done
  echo "did not reach running: $s" >&2; exit 1;;
exec) l=$(cat "$1/leader"); shift; inside "$l" "$@";;
unit) l=$(cat "$1/leader"); shift; inside "$l" systemd-run --quiet --wait --pipe --collect -- "$@";;
stop|kill)
  run=$1; cg=$(cat "$run/cg"); p=$(cat "$run/pid" 2>/dev/null || echo none)
  if [ $verb = stop ] && [ -s "$run/leader" ]; then
    inside "$(cat "$run/leader")" systemctl --no-block poweroff || true
    for _ in $(seq 200); do [ -d "/proc/$p" ] || break; sleep 0.05; done
  fi
  # SIGKILL to nspawn alone would leave the container's PID 1 running: end the whole cgroup
  for r in $(cgroots); do [ -e "$r/$cg/cgroup.kill" ] && echo 1 >"$r/$cg/cgroup.kill" || true; done
  for _ in $(seq 100); do
    left=
    for r in $(cgroots); do
      [ -d "$r/$cg" ] && { find "$r/$cg" -depth -type d -exec rmdir {} + 2>/dev/null || true; }
      [ -d "$r/$cg" ] && left=1
    done
    [ -z "$left" ] && break; sleep 0.02
  done
  rm -f "$run/pid" "$run/leader"; rmdir /tmp/nspawn-volatile-* 2>/dev/null || true;;
*) echo "unknown verb $verb" >&2; exit 2;;
esac
