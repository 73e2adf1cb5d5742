#!/usr/bin/env bash
# down.sh DATA: stops the background stack of this data directory. Hosts go on.
set -euo pipefail
. "$(dirname "$0")/start.sh"

if ! alive; then
	echo "No stack runs on $data."
	exit 0
fi
pid=$(cat "$pidfile")
$as_root kill -TERM "$pid"
for _ in $(seq 300); do
	[ -e "/proc/$pid" ] || { $as_root rm -f "$pidfile"; echo "Stopped."; exit 0; }
	sleep 0.1
done
echo "The stack (pid $pid) does not stop; its log is $logfile" >&2
exit 1
