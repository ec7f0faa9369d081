if [ $1 -eq 0 ] && [ -x /usr/bin/systemctl ]; then
  systemctl --no-reload disable --now rq.target >/dev/null 2>&1 || :
  systemctl stop rq-gateway.socket rq-gateway.service rq-consensus.service rq-store.service >/dev/null 2>&1 || :
fi
