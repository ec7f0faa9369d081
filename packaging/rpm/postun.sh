if [ -x /usr/bin/systemctl ]; then systemctl daemon-reload >/dev/null 2>&1 || :; fi
if [ $1 -ge 1 ] && [ -x /usr/bin/systemctl ]; then
  # In one transaction, so that they stop and start in their order; the port stays open.
  systemctl try-restart rq-store.service rq-consensus.service rq-gateway.service >/dev/null 2>&1 || :
fi
