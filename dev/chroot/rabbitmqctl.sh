#!/bin/sh
# rabbitmqctl for the broker whose start is noted in $1 (pid record), called $2, with epmd on port $3.
set -eu
record=$1 node=$2 epmd=$3
shift 3

starter=$(sed -n 's/.*"pid": \([0-9]*\).*/\1/p' "$record")
read -r first _ < "/proc/$starter/task/$starter/children" || true # the list has no newline
exec nsenter --target "$first" --mount --pid --root --setgid 999 --setuid 999 \
  /usr/bin/env --ignore-environment --chdir=/ \
  PATH=/usr/lib/rabbitmq/bin:/usr/bin:/bin \
  HOME=/var/lib/rabbitmq \
  LANG=C.UTF-8 \
  ERL_EPMD_PORT="$epmd" \
  rabbitmqctl --node "$node" "$@"
