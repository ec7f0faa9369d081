#!/bin/bash
# network.sh up|down PREFIX N   N network namespaces on a bridge that lives in one more, and one for clients: nothing is
# added to the machine's own namespace. Node i has 10.77.0.i, clients 10.77.0.100. "cut" and "join" PREFIX I: node I's link.
set -euo pipefail
verb=$1 prefix=$2 n=$3
add() { # namespace, port name, address
  ip netns add "$1"; ip -n "$1" link set lo up
  ip -n "$1" link add host0 type veth peer name "$2" netns "$prefix-sw"
  ip -n "$prefix-sw" link set "$2" master br0 up
  ip -n "$1" addr add "$3/24" dev host0; ip -n "$1" link set host0 up
}
case $verb in
up)
  ip netns add "$prefix-sw"; ip -n "$prefix-sw" link add br0 type bridge; ip -n "$prefix-sw" link set br0 up
  for i in $(seq "$n"); do add "$prefix-n$i" "p$i" "10.77.0.$i"; done
  add "$prefix-client" pc 10.77.0.100 ;;
cut) ip -n "$prefix-sw" link set "p$n" down ;;
join) ip -n "$prefix-sw" link set "p$n" up ;;
down) for name in $(ip netns list | awk '{print $1}'); do
    case $name in "$prefix"-*) ip netns del "$name" || true ;; esac
  done ;;
esac
