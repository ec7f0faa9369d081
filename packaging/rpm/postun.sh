if [ -x /usr/bin/systemctl ]; then systemctl daemon-reload >/dev/null 2>&1 || :; fi
if [ $1 -ge 1 ] && [ -x /usr/bin/systemctl ] && [ -d /run/systemd/system ]; then
  # Those that run, all at once: they stop and start in their order; the port stays open.
  for unit in $(systemctl list-units --plain --no-legend --state=active 'rq-store*.service' 'rq-consensus*.service' 'rq-gateway*.service' | cut -d' ' -f1); do
    systemctl set-property "$unit" Markers=+needs-restart >/dev/null 2>&1 || :
  done
  systemctl reload-or-restart --marked >/dev/null 2>&1 || :
fi
