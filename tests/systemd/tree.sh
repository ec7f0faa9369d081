#!/bin/bash
# tree.sh TREE PACKAGE,PACKAGE,...   builds a minimal Debian tree of this machine's release, with systemd and
# the packages, from whatever apt sources this machine has. A tree that is complete is left alone.
set -euo pipefail
tree=$1 extra=$2
[ -e "$tree/.complete" ] && exit 0
. /etc/os-release
sources=()
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  # only files that offer this release's main component
  if [ -s "$f" ] && grep -qw "$VERSION_CODENAME" "$f" && grep -qw main "$f"; then sources+=("$f"); fi
done
# What is of no use in a container, or would make "running" wait.
masked="console-getty.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
 e2scrub_reap.service fstrim.timer systemd-tmpfiles-clean.timer systemd-resolved.service systemd-networkd.service"
rm -rf --one-file-system "$tree"
mmdebstrap --quiet --variant=minbase --include="systemd,systemd-sysv,dbus,iproute2,procps,netcat-openbsd,$extra" \
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook='rm -f "$1"/etc/machine-id "$1"/var/lib/dbus/machine-id; : >"$1"/etc/machine-id' \
  --customize-hook='echo rq-test >"$1"/etc/hostname; printf "127.0.0.1 localhost\n::1 localhost\n" >"$1"/etc/hosts' \
  --customize-hook="for u in $(echo $masked); do ln -sf /dev/null \"\$1/etc/systemd/system/\$u\"; done" \
  --customize-hook='mkdir -p "$1"/etc/systemd/journald.conf.d "$1"/var/log/journal; printf "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nSyncIntervalSec=1s\n" >"$1"/etc/systemd/journald.conf.d/rq-test.conf' \
  "$VERSION_CODENAME" "$tree" "${sources[@]}"
touch "$tree/.complete"
