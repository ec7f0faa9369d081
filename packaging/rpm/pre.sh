# An older version can't read what a newer one wrote.
if [ -r /var/lib/rq/readers-since ]; then
  since=$(head -n 1 /var/lib/rq/readers-since)
  if [ "$(printf '%s\n' "@package_version@" "$since" | sort -V | head -n 1)" != "$since" ]; then
    echo "rq-server: the data in /var/lib/rq was written by a version that @package_version@ cannot read; it takes $since or newer. Nothing was changed." >&2
    exit 1
  fi
fi
