package parts_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"slipway.dev/deploy/parts"
	"slipway.dev/deploy/setup"
	"slipway.dev/pkg/conf"
	"slipway.dev/pkg/pg"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// of returns one column of the table, sorted.
func of(table []parts.Part, column func(parts.Part) string) []string {
	var list []string
	for _, p := range table {
		list = append(list, column(p))
	}
	slices.Sort(list)
	return list
}

// matches returns the sorted first groups of all matches of a pattern in a file, each once.
func matches(t *testing.T, path, pattern string) []string {
	t.Helper()
	var list []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, path), -1) {
		list = append(list, strings.Fields(m[1])...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func name(p parts.Part) string { return p.Name }

// TestTable: a service stands after those that it calls, and each name, port and command once.
func TestTable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range parts.All() {
		for _, once := range []string{"name " + p.Name, "command " + p.Command, fmt.Sprint("port ", p.Port)} {
			if seen[once] {
				t.Errorf("the %s is there twice", once)
			}
			seen[once] = true
		}
		for _, c := range p.Calls {
			if !seen["name "+c] {
				t.Errorf("%s stands before %s, which it calls", p.Name, c)
			}
		}
		if (p.Migrate == nil) != (p.New == nil) || p.Migrate != nil && (!p.OnBus || p.Weight < 1) {
			t.Errorf("%s lacks something", p.Name)
		}
		if _, err := os.Stat(filepath.Join("../..", p.Command, "main.go")); err != nil {
			t.Error(err)
		}
	}
}

// TestFilesFollowTheTable: Makefile, Dockerfile, Prometheus and the test of compose name every program, and no other.
func TestFilesFollowTheTable(t *testing.T) {
	t.Parallel()
	commands := of(parts.All(), func(p parts.Part) string { return "slipway.dev/" + p.Command })
	names := of(parts.All(), name)
	keys := slices.Sorted(slices.Values(append(slices.Clone(names), "nats", "node-libvirt", "postgres")))
	for _, f := range []struct {
		path, pattern string
		want          []string
	}{
		{"Makefile", `(slipway\.dev/(?:services|gateway)\S*/cmd/\w+d)\b`, commands},
		{"Dockerfile", `(slipway\.dev/(?:services|gateway)\S*/cmd/\w+d)\b`, commands},
		{"Dockerfile", `/volumes/keys/([a-z-]+)`, keys},
		{"deploy/compose/prometheus/prometheus.yml", `names: \[([a-z, ]+)\]`, nil},
		{"deploy/compose/test.sh", `compose build --quiet ([a-z]+(?: [a-z]+)+)`, names},
		{"docker-compose.yml", `(?m)^  keys-([a-z-]+):$`, keys},
	} {
		got := matches(t, f.path, f.pattern)
		if f.want == nil {
			for i := range got {
				got[i] = strings.Trim(got[i], ",")
			}
			slices.Sort(got)
			f.want = names
		}
		if !slices.Equal(got, f.want) {
			t.Errorf("%s names %q, the table %q", f.path, got, f.want)
		}
	}
}

// container is an entry of docker-compose.yml.
type container struct {
	Image       string
	Build       struct{ Args map[string]string }
	Deploy      struct{ Replicas string }
	Environment map[string]string
	Volumes     []string
	DependsOn   map[string]any `yaml:"depends_on"`
	Command     []string
}

// TestComposeFollowsTheTable: docker-compose.yml has a container for each program, with the values of the table.
func TestComposeFollowsTheTable(t *testing.T) {
	t.Parallel()
	var file struct{ Services map[string]container }
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &file); err != nil {
		t.Fatal(err)
	}
	services := map[string]string{}
	for _, p := range parts.Services(parts.All()) {
		services[p.Name] = fmt.Sprintf("%s:%d", p.Name, p.Port)
	}
	for _, p := range parts.All() {
		c, ok := file.Services[p.Name]
		if !ok {
			t.Errorf("there is no container of %s", p.Name)
			continue
		}
		for _, problem := range c.differs(p, services) {
			t.Errorf("%s: %s", p.Name, problem)
		}
	}
	for n, c := range file.Services { // other containers are no service of ours, or a kind of node
		if arg := c.Build.Args["SERVICE"]; arg != "" && arg != "slipway-init" && !slices.ContainsFunc(parts.All(), func(p parts.Part) bool { return p.Program() == arg }) {
			t.Errorf("%s runs %s, which is not in the table", n, arg)
		}
	}
}

// differs lists the values of a container that differ from the table.
func (c container) differs(p parts.Part, services map[string]string) (problems []string) {
	same := func(what, got, want string) {
		if got != want {
			problems = append(problems, fmt.Sprintf("%s is %q, the table says %q", what, got, want))
		}
	}
	same("the image", c.Image, "slipway/"+p.Name+":${SLIPWAY_TAG:-local}")
	same("the program", c.Build.Args["SERVICE"], p.Program())
	same("the address", c.Environment[p.Prefix()+"LISTEN"], fmt.Sprintf(":%d", p.Port))
	same("the metrics", c.Environment[p.Prefix()+"METRICS"], ":9100")
	same("replicas", fmt.Sprint(c.Deploy.Replicas == "${SLIPWAY_REPLICAS:-1}"), fmt.Sprint(p.Replicable))
	same("a user on the bus", c.Environment[p.Prefix()+"NATS_FILE"], map[bool]string{true: "/keys/nats"}[p.OnBus])
	same("a database", c.Environment[p.Prefix()+"DATABASE_FILE"], map[bool]string{true: "/keys/database"}[p.Migrate != nil])
	same("keys", fmt.Sprint(slices.Contains(c.Volumes, "keys-"+p.Name+":/keys:ro")), "true")
	if p.Name == "node" {
		same("vm", c.Environment["SLIPWAY_NODE_VM"], services["vm"])
		return problems
	}
	addresses := map[string]string{}
	for one := range strings.SplitSeq(c.Environment[p.Prefix()+"SERVICES"], ",") {
		n, address, _ := strings.Cut(one, "=")
		addresses[n] = address
	}
	if !maps.Equal(addresses, services) {
		problems = append(problems, fmt.Sprintf("it looks for services at %v, the table says %v", addresses, services))
	}
	if p.Migrate == nil { // services with a schema depend on the database and find each other by SERVICES
		for _, called := range p.Calls {
			if c.DependsOn[called] == nil {
				problems = append(problems, "it does not wait for "+called)
			}
		}
	}
	return problems
}

// TestComposeHasRoomForAllPools: the database of docker-compose.yml allows as many connections as the set-up hands out, and
// two replicas of every service fit.
func TestComposeHasRoomForAllPools(t *testing.T) {
	t.Parallel()
	c, err := conf.From[setup.Config](map[string]string{}, "SLIPWAY")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("${SLIPWAY_POSTGRES_CONNECTIONS:-%d}", c.PostgresConnections)
	for _, where := range []string{`"max_connections=` + want + `"`, "SLIPWAY_POSTGRES_CONNECTIONS: " + want} {
		if !strings.Contains(read(t, "docker-compose.yml"), where) {
			t.Errorf("docker-compose.yml does not say %s", where)
		}
	}
	if _, err := pg.Budget(c.PostgresConnections, parts.Shares(parts.All(), 2)); err != nil {
		t.Error(err)
	}
}

// TestBufFollowsProtos: buf.gen.yaml names every folder of proto that has protos.
func TestBufFollowsProtos(t *testing.T) {
	t.Parallel()
	folders := map[string]bool{}
	err := filepath.WalkDir("../../proto", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".proto" {
			rel, _ := filepath.Rel("../..", path)
			folders[strings.Join(strings.Split(rel, "/")[:2], "/")] = true
		}
		return err
	})
	delete(folders, "proto/third_party")
	if got := matches(t, "buf.gen.yaml", `(?m)^ +- (proto/\w+)$`); err != nil || !slices.Equal(got, slices.Sorted(maps.Keys(folders))) {
		t.Errorf("buf.gen.yaml names %q, there are %v: %v", got, folders, err)
	}
}
