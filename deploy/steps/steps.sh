# Sourced by test.sh: named steps, some abreast; where the time went.

work=$(mktemp -d)
export GOTEST_TIMES=$work/tests
lanes=()
trap 'end_lanes; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# step NAME COMMAND…: runs the command, and shows what it said in one piece. A failure ends the lane.
step() {
	local name=$1 start=$SECONDS code=0 log
	shift
	log=$(mktemp "$work/log.XXXXXX")
	printf -- '-- %s: begins (%s)\n' "$name" "$(date +%T)"
	"$@" >"$log" 2>&1 </dev/null || code=$?
	{
		flock 8
		printf '\n== %s (%d s)\n' "$name" $((SECONDS - start))
		cat "$log"
		if [ $code = 0 ]; then
			printf '%7d s  %s\n' $((SECONDS - start)) "$name" >>"$work/steps"
			printf '== passed: %s\n' "$name"
		else
			printf '== FAILED: %s (exit code %d); what it said stands above\n' "$name" $code
		fi
	} 8>"$work/output"
	[ $code = 0 ] || exit $code
}

# abreast LANE…: runs functions side by side, each a row of steps, until all have ended or one has failed. Each lane says by itself how
# it ended: wait -n forgets one of two that end at the same moment.
abreast() {
	local lane code left=$#
	[ -p "$work/ended" ] || mkfifo "$work/ended"
	exec 9<>"$work/ended"
	set -m # a process group for each, to end it with all that it started
	for lane in "$@"; do
		(
			trap - EXIT INT TERM HUP
			set +e
			(set -e; exec 9>&-; "$lane")
			echo $? >&9
		) &
		lanes+=($!)
	done
	set +m
	while [ $left -gt 0 ]; do
		while ! read -r -t 1 code <&9; do :; done # a signal is handled between two looks
		[ "$code" = 0 ] || exit "$code"
		left=$((left - 1))
	done
	lanes=()
}

# end_lanes asks what still runs to stop, and waits for it.
end_lanes() {
	local lane
	for lane in "${lanes[@]}"; do kill -TERM -- "-$lane" 2>/dev/null || true; done
	wait
}

# summary: where the time went, and what passed.
summary() {
	printf '\nThe ten slowest tests\n'
	bin/gotest -slowest 10 "$GOTEST_TIMES"
	printf '\nWhere the time went; some steps ran side by side\n'
	cat "$work/steps"
	printf '\nPASSED: all %d steps in %d s\n' "$(wc -l <"$work/steps")" $SECONDS
}
