#!/usr/bin/env bash
# Stop the cluster that up.sh brought up, and remove its configuration and state.
set -uo pipefail
state=/var/lib/steerpaper-slurm
conf=/etc/slurm/slurm.conf
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

grep -qs '^ClusterName=steerpaper-test$' "$conf" || exit 0
runs() { [ "$(cat "/proc/$(cat "$state/$1.pid" 2>/dev/null)/comm" 2>/dev/null)" = "$1" ]; }

timeout 10 scancel --user=root
for _ in $(seq 50); do [ -z "$(timeout 5 squeue -h -t running,completing)" ] && break; sleep 0.2; done
for daemon in slurmd slurmctld; do
  runs "$daemon" && kill "$(cat "$state/$daemon.pid")"
  for _ in $(seq 50); do runs "$daemon" || break; sleep 0.2; done
done
[ -e "$state/munged" ] && runuser -u munge -- munged --stop
rm -rf "$state" "$conf" /etc/slurm/gres.conf
