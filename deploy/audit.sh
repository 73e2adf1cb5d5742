#!/usr/bin/env bash
# Looks for known vulnerabilities in what is imported and called, and for dangerous constructs in our own code.
#
# VULNDB names a copy of the Go vulnerability database: a .tgz, or a directory with index/ and ID/ in it. Without it the
# public one is asked.
set -euo pipefail
cd "$(dirname "$0")/.."

govulncheck=v1.6.0
gosec=v2.22.4

install() { # <name> <module> <version>
	test -x "bin/audit/$1-$3" && return
	GOWORK=off GOFLAGS='' GOBIN="$PWD/bin/audit" go install "$2@$3"
	mv "bin/audit/$1" "bin/audit/$1-$3"
}
install govulncheck golang.org/x/vuln/cmd/govulncheck $govulncheck
install gosec github.com/securego/gosec/v2/cmd/gosec $gosec

db=()
case "${VULNDB:-}" in
'') ;;
*.tgz)
	dir=$(mktemp -d)
	trap 'rm -rf "$dir"' EXIT
	tar -xzf "$VULNDB" -C "$dir"
	db=(-db "file://$(dirname "$(dirname "$(find "$dir" -path '*/index/db.json' -print -quit)")")")
	;;
*) db=(-db "file://$(realpath "$VULNDB")") ;;
esac

failed=0
for m in proto pkg services gateway deploy; do
	echo "== $m"
	(cd $m && "../bin/audit/govulncheck-$govulncheck" "${db[@]}" -tags libvirt_dlopen ./...) || failed=1
	# G115 calls every conversion of an integer an overflow, whatever bounds it; the hostile input of deploy/hostile looks for
	# real ones. G404 calls every use of math/rand weak; the look below says where it may not be.
	(cd $m && "../bin/audit/gosec-$gosec" -quiet -severity high -confidence medium -exclude G115,G404 -exclude-generated -tags libvirt_dlopen ./...) || failed=1
done
if grep -rl --include='*.go' --exclude='*_test.go' 'math/rand' services/auth pkg/identity pkg/pki pkg/idem gateway; then
	echo "secrets are made there: take crypto/rand" >&2
	failed=1
fi
exit $failed
