//go:build e2e && remote

package e2e

import (
	"os"
	"strings"
	"testing"
)

// process is nothing of ours.
type process struct{}

// anyStack is the stack at SLIPWAY_E2E_URL, which all tests share. Its administrator is SLIPWAY_E2E_EMAIL, with
// SLIPWAY_E2E_PASSWORD.
func anyStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{t: t, url: os.Getenv("SLIPWAY_E2E_URL"), email: os.Getenv("SLIPWAY_E2E_EMAIL"), password: os.Getenv("SLIPWAY_E2E_PASSWORD")}
	if s.url == "" || s.password == "" {
		t.Fatal("set SLIPWAY_E2E_URL and SLIPWAY_E2E_PASSWORD")
	}
	if s.email == "" {
		s.email = adminEmail
	}
	s.url = strings.TrimRight(s.url, "/")
	return s
}
