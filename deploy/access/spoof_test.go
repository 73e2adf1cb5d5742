package access

import (
	"net/http"
	"slices"
	"testing"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// TestSpoofedHeaders: no header gives a client another identity, not even one that carries an administrator's signed
// identity.
func TestSpoofedHeaders(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	admin := s.identity(0, s.personas[1].token)
	headers := []string{
		"Slipway-Identity: " + admin, "Grpc-Metadata-Slipway-Identity: " + admin, "Grpc-Metadata-slipway-identity: " + admin,
		"Grpcgateway-Slipway-Identity: " + admin, "Grpc-Metadata-Grpcgateway-Slipway-Identity: " + admin, "Slipway-Identity-Bin: " + admin,
		"Authorization: Bearer " + admin, "Cookie: slipway-identity=" + admin, "Internal-Auth: on", "Grpc-Metadata-Internal-Auth: on", "Isp-Box-Instance: true",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: " + adminEmail, "X-Forwarded-Host: input", "X-Real-Ip: 127.0.0.1", "Forwarded: for=127.0.0.1",
		"X-Remote-User: admin", "X-Original-Url: /auth/v4/whoami", "X-Rewrite-Url: /auth/v4/whoami", "X-Http-Method-Override: GET",
		"Slipway-Client-Ip: 127.0.0.1", "Grpc-Metadata-X-Caller: vm", "X-Ssl-Client-S-Dn: CN=vm", "Host: input:1500",
	}
	user := s.personas[slices.IndexFunc(s.personas, func(p persona) bool { return p.name == "user" })]
	before := s.state()
	probes := 0
	for _, p := range []persona{s.personas[0], user} {
		for _, r := range routes() {
			if r.Level == accesspb.Level_LEVEL_PUBLIC || p.who != nil && (r.Demand.Scope == identity.ScopeSelf || access.ReachOf(*p.who, r.Demand) != access.Nowhere) {
				continue
			}
			want := http.StatusUnauthorized
			if p.who != nil {
				want = http.StatusForbidden
			}
			for _, set := range append([][]string{headers}, slices.Collect(slices.Chunk(headers, 1))...) {
				probes++
				if a := s.send(0, r.verb, r.at("1"), p.token, "{}", set...); a.code != want {
					t.Errorf("%s: %s %s with %.60s: %+v", p.name, r.verb, r.path, set[0], a)
				}
			}
		}
	}
	if after := s.state(); after != before || probes < 2000 {
		t.Errorf("%d probes, state:\n%s\n%s", probes, before, after)
	}
}

// TestForeignSites: what a page of another site makes a browser send with its cookies changes nothing, on any route.
func TestForeignSites(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	admin := s.personas[1]
	before := s.state()
	mutating := 0
	for _, r := range routes() {
		if !r.Mutates || r.verb == http.MethodGet {
			continue
		}
		mutating++
		for _, cookie := range []string{"ses6", "token", "x-xsrf-token"} {
			for _, from := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example.com", "Origin: null"} {
				a := s.send(0, r.verb, r.at("1"), "", "{}", "Cookie: "+cookie+"="+admin.token, from, "Content-Type: text/plain")
				reason, shaped := s.replicas[0].gateway.ReadError(r.path, []byte(a.body))
				if a.code != http.StatusForbidden || !shaped || reason != fault.Denied.Reason {
					t.Errorf("%s %s, %s, %s: %+v", r.verb, r.path, cookie, from, a)
				}
			}
		}
	}
	if after := s.state(); after != before || mutating < 40 {
		t.Errorf("%d routes, state:\n%s\n%s", mutating, before, after)
	}
}
