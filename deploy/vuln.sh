#!/usr/bin/env bash
# Looks for known vulnerabilities in what is imported and called, and for secrets in the whole history. "vuln.sh offline" leaves
# out the first, which needs a database; make test runs that. Dangerous constructs in our own code are found by make lint.
#
# VULNDB names a copy of the Go vulnerability database: a .tgz, or a directory with index/ and ID/ in it. Without it the
# public one is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

govulncheck=v1.6.0
staticcheck=v0.8.2
gitleaks=v8.28.0

install() { # <name> <module> <version>
	test -x "bin/vuln/$1-$3" && return
	GOWORK=off GOFLAGS='' GOBIN="$PWD/bin/vuln" go install "$2@$3"
	mv "bin/vuln/$1" "bin/vuln/$1-$3"
}

failed=0
fail() {
	echo "vuln: $*" >&2
	failed=1
}

vulnerabilities() {
	install govulncheck golang.org/x/vuln/cmd/govulncheck $govulncheck
	db=()
	case "${VULNDB:-}" in
	'') ;;
	*.tgz)
		dir=$(mktemp -d)
		trap 'rm -rf "$dir"' EXIT
		tar -xzf "$VULNDB" -C "$dir"
		index=$(find "$dir" -path '*/index/db.json' -print -quit)
		[ -n "$index" ] || { fail "$VULNDB holds no index/db.json"; return; }
		db=(-db "file://$(dirname "$(dirname "$index")")")
		;;
	*) db=(-db "file://$(realpath "$VULNDB")") ;;
	esac
	for m in proto pkg services gateway deploy; do
		code=0
		out=$(cd $m && "../bin/vuln/govulncheck-$govulncheck" "${db[@]}" -tags libvirt_dlopen ./... 2>&1) || code=$?
		case $code in
		0) echo "govulncheck $m: nothing that is called" ;;
		3) echo "$out"; fail "govulncheck $m" ;;
		*)
			case "$out" in
			*"fetching vulnerabilities"*)
				fail "vulnerabilities were NOT looked for: the public database does not answer. VULNDB=copy.tgz make vuln takes a copy, make vuln-offline does the rest"
				return
				;;
			esac
			echo "$out"
			fail "govulncheck $m"
			;;
		esac
	done
}

# exceptions: gosec is one of golangci-lint's checks (make lint). A program of its own it read files with build tags or not,
# by chance: its workers share the tags, and whoever loads a package first takes them away from the others.
exceptions() {
	if bare=$(grep -rnE --include='*.go' '#nosec( *$| *G[0-9]+( *$| *//))|#nosec *--' proto pkg services gateway deploy tools); then
		echo "$bare"
		fail "#nosec names its rule and its reason: #nosec G115 -- why"
	fi
}

# mistakes: golangci-lint has these checks built in; here they are those of staticcheck itself.
mistakes() {
	install staticcheck honnef.co/go/tools/cmd/staticcheck $staticcheck
	for m in proto pkg services gateway deploy; do
		(cd $m && "../bin/vuln/staticcheck-$staticcheck" -tags libvirt_dlopen,e2e ./...) && echo "staticcheck $m: nothing" || fail "staticcheck $m"
	done
}

# secrets: every commit there ever was. .gitleaks.toml names the few values that are none.
secrets() {
	install gitleaks github.com/zricethezav/gitleaks/v8 $gitleaks
	if ! git rev-parse --git-dir >/dev/null 2>&1; then
		"bin/vuln/gitleaks-$gitleaks" dir --no-banner --redact --verbose --log-level warn --config .gitleaks.toml . || fail "gitleaks"
	else
		"bin/vuln/gitleaks-$gitleaks" git --no-banner --redact --verbose --log-level warn --config .gitleaks.toml . || fail "gitleaks"
	fi
	[ $failed = 1 ] || echo "gitleaks: nothing"
}

[ "${1:-}" = offline ] || vulnerabilities
exceptions
[ "${1:-}" = offline ] || mistakes # make lint has them
secrets
exit $failed
