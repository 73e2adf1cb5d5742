# Sourced by the scripts that start and stop a background stack: where its pid and log are, and with which rights it runs.
data=$1
pidfile=$data/slipway.pid
logfile=$data/slipway.log
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Domains, bridges and taps need root. A simulated hypervisor does not.
as_root=
if [ "$(id -u)" != 0 ] && [[ " ${*:3} " != *" sim "* ]]; then
	as_root="sudo --preserve-env=SLIPWAY_ADMIN_EMAIL,SLIPWAY_ADMIN_PASSWORD,SLIPWAY_POSTGRES_URL,SLIPWAY_NATS_URL,SLIPWAY_LOG"
fi

# alive reports whether the pid is a slipway of this data directory, and not a later process with the same number.
alive() {
	[ -s "$pidfile" ] || return 1
	local pid
	pid=$(cat "$pidfile")
	tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "slipway up --data $data "
}
