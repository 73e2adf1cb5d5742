// Package images tests the contents of the images.
package images

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestNames: the base images that are built offline are exactly those that the files name.
func TestNames(t *testing.T) {
	t.Parallel()
	var made, used []string
	for _, m := range regexp.MustCompile(`(?m)^\w+_IMAGE=(\S+)$`).FindAllStringSubmatch(read(t, "deploy/images/offline/names.sh"), -1) {
		made = append(made, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+:\S+)`).FindAllStringSubmatch(read(t, "Dockerfile"), -1) {
		used = append(used, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^ +image: (\S+)$`).FindAllStringSubmatch(read(t, "docker-compose.yml"), -1) {
		if !strings.HasPrefix(m[1], "slipway/") {
			used = append(used, m[1])
		}
	}
	slices.Sort(made)
	slices.Sort(used)
	if used = slices.Compact(used); !slices.Equal(made, used) {
		t.Errorf("made %q, used %q", made, used)
	}
}

// TestPublished: ports are published only on the loopback.
func TestPublished(t *testing.T) {
	t.Parallel()
	ports := regexp.MustCompile(`(?m)^ +ports: (.*)$`).FindAllStringSubmatch(read(t, "docker-compose.yml"), -1)
	if len(ports) == 0 {
		t.Fatal("no port is published")
	}
	for _, m := range ports {
		if !strings.HasPrefix(m[1], `["127.0.0.1:`) || strings.Contains(m[1], ",") {
			t.Errorf("published: %s", m[1])
		}
	}
}

// TestSettings: .env.example explains every setting of docker-compose.yml, and none that is not there.
func TestSettings(t *testing.T) {
	t.Parallel()
	var explained, used []string
	for _, m := range regexp.MustCompile(`(?m)^#([A-Z_]+)=`).FindAllStringSubmatch(read(t, ".env.example"), -1) {
		if !strings.HasPrefix(m[1], "COMPOSE_") {
			explained = append(explained, m[1])
		}
	}
	for _, m := range regexp.MustCompile(`\$\{([A-Z_]+)`).FindAllStringSubmatch(read(t, "docker-compose.yml"), -1) {
		if !strings.HasPrefix(m[1], "GO") {
			used = append(used, m[1])
		}
	}
	slices.Sort(explained)
	slices.Sort(used)
	if used = slices.Compact(used); !slices.Equal(explained, used) {
		t.Errorf("explained %q\nused %q", explained, used)
	}
}
