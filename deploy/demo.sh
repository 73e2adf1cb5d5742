#!/usr/bin/env bash
# demo.sh DATA LISTEN [flags of slipway up]: starts a stack in the background, makes a first host with the very REST calls
# that it prints, and shows the host's console.
set -euo pipefail
. "$(dirname "$0")/start.sh"
listen=$2

if alive; then
	echo "The stack runs already (pid $(cat "$pidfile"))."
else
	$as_root mkdir -p "$data"
	first=
	[ -e "$data/stack-id" ] || first=1
	$as_root sh -c ': >"$1"' - "$logfile"
	$as_root setsid sh -c 'echo $$ >"$1"; shift; log=$1; shift; exec "$@" >"$log" 2>&1 </dev/null' - \
		"$pidfile" "$logfile" "$here/bin/slipway" up --data "$data" --listen "$listen" "${@:3}" &
	for _ in $(seq 600); do
		grep -q '^ready ' "$logfile" 2>/dev/null && break
		sleep 0.1
		if ! alive && [ -s "$logfile" ] && ! kill -0 $! 2>/dev/null; then
			echo "The stack did not start:" >&2
			tail -n 20 "$logfile" >&2
			exit 1
		fi
	done
fi
url=$(sed -n 's/^ready //p' "$logfile" | tail -n 1)
[ -n "$url" ] || { echo "The stack is not ready after a minute; its log is $logfile" >&2; exit 1; }

email=${SLIPWAY_ADMIN_EMAIL:-admin@example.com}
password=${SLIPWAY_ADMIN_PASSWORD:-$($as_root cat "$data/admin-password")}

# call prints a command as a person would type it, and runs it.
call() { echo "\$ $1" >&2; eval "$1"; echo >&2; }
# field takes a number or text out of flat JSON.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

echo
echo "# Log in"
reply=$(call "curl -s $url/auth/v4/public/token -d '{\"email\":\"$email\",\"password\":\"$password\"}'")
echo "$reply"
token=$(echo "$reply" | field token)
auth="-H 'x-xsrf-token: $token'"
echo
echo "# What there is"
call "curl -s $auth '$url/vm/v3/node'"; echo
reply=$(call "curl -s $auth '$url/vm/v3/os?where=(name+EQ+'\''tiny'\'')'")
echo "$reply"
os=$(echo "$reply" | sed -n 's/.*"list":\[{"id":\([0-9]*\).*/\1/p')
name=demo-$(date +%H%M%S)
echo
echo "# A host"
reply=$(call "curl -s $auth $url/vm/v3/host -d '{\"name\":\"$name\",\"os\":$os,\"password\":\"demo-password\",\"cpu_number\":1,\"ram_mib\":256,\"hdd_mib\":128}'")
echo "$reply"
id=$(echo "$reply" | field id)
task=$(echo "$reply" | field task)
[ -n "$task" ] || { echo "No host was made." >&2; exit 1; }
echo
echo "# Its task"
for _ in $(seq 150); do
	status=$(eval "curl -s $auth '$url/vm/v3/task?where=consul_id+EQ+$task'" | field status)
	case $status in complete | failed | canceled) break ;; esac
	sleep 0.2
done
call "curl -s $auth '$url/vm/v3/task?where=consul_id+EQ+$task'"; echo
[ "$status" = complete ] || exit 1
call "curl -s $auth $url/vm/v3/host/$id"; echo
echo
echo "# Its console"
for _ in $(seq 300); do
	eval "curl -s $auth $url/vm/v3/host/$id/console" | grep -q 'slipway-guest ready' && break
	sleep 0.2
done
call "curl -s $auth $url/vm/v3/host/$id/console" | tail -n 15
accel=$(eval "curl -s $auth $url/vm/v3/node" | field accel)
address=$(eval "curl -s $auth $url/vm/v3/host/$id/ipv4" | field ip_addr)
cat <<END

The stack runs.
  URL        $url   (API description: $url/swagger/)
  e-mail     $email
  password   $password
  hosts run  with $accel$([ "$accel" != tcg ] || echo ", emulated: KVM does not work here")$([ "$accel" != sim ] || echo ", simulated only: see the log for what is missing")
  host       ssh root@$address   (password demo-password)
  log        $logfile
  stop       make down      (hosts go on; make demo or make up finds them again)
END
