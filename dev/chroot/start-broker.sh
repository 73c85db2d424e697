#!/bin/sh
# First process of its own mount and pid namespace: becomes the RabbitMQ of the root filesystem $1.
# Every mount made here is seen by nobody else and ends with the broker.
set -eu
root=$1

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
if [ -n "${BROKER_DATA:-}" ]; then # a node of a cluster keeps its data when it is started again
  chown 999:999 "$BROKER_DATA"
  mount --bind "$BROKER_DATA" "$root/var/lib/rabbitmq"
else
  mount -t tmpfs -o uid=999,gid=999,mode=0755 tmpfs "$root/var/lib/rabbitmq"
fi
if [ -n "${BROKER_COOKIE:-}" ]; then # nodes of one cluster share it
  printf %s "$BROKER_COOKIE" > "$root/var/lib/rabbitmq/.erlang.cookie"
  chown 999:999 "$root/var/lib/rabbitmq/.erlang.cookie"
  chmod 0400 "$root/var/lib/rabbitmq/.erlang.cookie"
fi
mount -t tmpfs -o uid=999,gid=999,mode=0755 tmpfs "$root/var/log/rabbitmq"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
mkdir "$root/run/rabbitmq"

# The node is called NAME@localhost, and the suite's root has no hosts file of its own.
echo '127.0.0.1 localhost' > "$root/run/hosts"
touch "$root/etc/hosts"
mount --bind "$root/run/hosts" "$root/etc/hosts"

cat > "$root/run/rabbitmq/host.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$BROKER_AMQP
management.tcp.ip = 127.0.0.1
management.tcp.port = $BROKER_MANAGEMENT
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $BROKER_PROMETHEUS
CONF
# A private broker brings more of its own: certificates, and the lines that name them.
if [ -n "${BROKER_FILES:-}" ]; then
  cp -r "$BROKER_FILES" "$root/run/rabbitmq/files"
  chown -R 999:999 "$root/run/rabbitmq/files"
  cat "$root/run/rabbitmq/files/more.conf" >> "$root/run/rabbitmq/host.conf"
fi

exec chroot --userspec=999:999 "$root" /usr/bin/env -i \
  PATH=/usr/lib/rabbitmq/bin:/usr/bin:/bin \
  HOME=/var/lib/rabbitmq \
  LANG=C.UTF-8 \
  ERL_EPMD_ADDRESS=127.0.0.1 \
  ERL_EPMD_PORT="$BROKER_EPMD" \
  RABBITMQ_CONFIG_FILE=/run/rabbitmq/host.conf \
  RABBITMQ_DIST_PORT="$BROKER_DISTRIBUTION" \
  RABBITMQ_LOGS=- \
  RABBITMQ_NODENAME="$BROKER_NODE" \
  RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="${BROKER_ERLANG_ARGUMENTS:-} -kernel inet_dist_use_interface {127,0,0,1}" \
  rabbitmq-server
