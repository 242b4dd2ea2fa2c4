#!/usr/bin/env bash
# Bring up the cluster that tests/test_slurm.py needs: SLURM's own daemons on this one machine, with
# two GPUs that exist in name only. Needs root and apt (Debian or Ubuntu). A SLURM that is there
# already is left alone. What runs is left running; what is missing is started. Stop: down.sh
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
state=/var/lib/steerpaper-slurm
conf=/etc/slurm/slurm.conf   # nowhere else: Snakemake's job steps forget SLURM_CONF
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
# the daemons must not keep open what the caller has open, such as a lock
for open in /proc/$$/fd/*; do
  fd=${open##*/}
  if [ "$fd" -gt 2 ] && [ "$fd" != 255 ]; then eval "exec $fd>&-"; fi   # 255 is this script
done

stop() { echo "no test cluster: $*" >&2; exit 1; }
runs() { [ "$(cat "/proc/$(cat "$state/$1.pid" 2>/dev/null)/comm" 2>/dev/null)" = "$1" ]; }
wait_for() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; return 1; }
munge_answers() { munge -n | unmunge; }
node_is_up() { scontrol -o show node | grep -E ' State=(IDLE|MIXED|ALLOCATED)[^*]* '; }

[ "$(id -u)" = 0 ] || stop "only root can start SLURM's daemons"
if [ -e "$conf" ] && ! grep -q '^ClusterName=steerpaper-test$' "$conf"; then
  stop "$conf is another cluster's"
fi

packages=(munge slurmctld slurmd slurm-client)
if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
  command -v apt-get >/dev/null || stop "packages ${packages[*]} are missing, and apt-get with them"
  policy=/usr/sbin/policy-rc.d   # packages must not start services by themselves
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  install=(apt-get install -y -q --no-install-recommends "${packages[@]}")
  DEBIAN_FRONTEND=noninteractive
  export DEBIAN_FRONTEND
  "${install[@]}" >/dev/null 2>&1 || { apt-get update -q && "${install[@]}"; } >&2 ||
    stop "apt-get cannot install ${packages[*]}"
fi

mkdir -p "$state/ctld" "$state/slurmd" "$(dirname "$conf")"
for gpu in 0 1; do
  [ -e "$state/gpu$gpu" ] || mknod "$state/gpu$gpu" c 1 3 2>/dev/null || touch "$state/gpu$gpu"
done
if ! runs slurmctld; then
  memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
  sed "s|@HOST@|$(hostname -s)|g; s|@STATE@|$state|; s|@MEMORY@|$memory|" "$here/slurm.conf" >"$conf"
  echo "Name=gpu Type=fake File=$state/gpu[0-1]" >"$(dirname "$conf")/gres.conf"
fi

if ! munge_answers >/dev/null 2>&1; then
  install -d -o munge -g munge /run/munge
  [ -s /etc/munge/munge.key ] || runuser -u munge -- mungekey --create
  runuser -u munge -- munged
  touch "$state/munged"
  wait_for munge_answers || stop "munged does not answer"
fi
runs slurmctld || slurmctld
wait_for scontrol ping || stop "slurmctld does not answer: see $state/slurmctld.log"
runs slurmd || slurmd
wait_for node_is_up || stop "the node does not come up: see $state/slurmd.log"
sinfo -N -o "%N %P %T, %c CPUs, %m MB, %G"
