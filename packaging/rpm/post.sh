if [ -x /usr/bin/systemd-sysusers ]; then systemd-sysusers rq.conf || :; fi
if [ -x /usr/bin/systemd-tmpfiles ]; then systemd-tmpfiles --create rq.conf || :; fi
mkdir -p /var/lib/rq
echo "@RQ_READERS_SINCE@" >/var/lib/rq/readers-since
if [ -x /usr/bin/journalctl ]; then journalctl --update-catalog >/dev/null 2>&1 || :; fi
if [ -x /usr/bin/systemctl ]; then
  systemctl daemon-reload >/dev/null 2>&1 || :
  if [ $1 -eq 1 ]; then systemctl --no-reload preset rq.target >/dev/null 2>&1 || :; fi
fi
