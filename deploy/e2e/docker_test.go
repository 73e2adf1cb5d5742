//go:build e2e && remote && containers

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// container is one of the stack's.
type container struct {
	t    *testing.T
	id   string
	name string
}

// containers of a service of the compose project SLIPWAY_E2E_PROJECT.
func containers(t *testing.T, service string) []container {
	t.Helper()
	out := docker(t, "ps", "--filter", "label=com.docker.compose.project="+os.Getenv("SLIPWAY_E2E_PROJECT"),
		"--filter", "label=com.docker.compose.service="+service, "--format", "{{.ID}} {{.Names}}")
	var list []container
	for line := range strings.Lines(out) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		list = append(list, container{t, id, name})
	}
	return list
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
