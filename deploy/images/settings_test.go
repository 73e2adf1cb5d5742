package images

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"slipway.dev/deploy/parts"
)

// leftOut are the settings that docker-compose.yml does not pass to a program, with the reason.
var leftOut = map[string]string{
	"SLIPWAY_AUTH_ADMIN_EMAIL":    "init makes the first administrator",
	"SLIPWAY_AUTH_ADMIN_PASSWORD": "init makes the first administrator",
	"SLIPWAY_VM_CLUSTER":          "init makes the first cluster, of SLIPWAY_CLUSTER",
	"SLIPWAY_VM_DOMAIN_TEMPLATE":  "init makes the first cluster, with SLIPWAY_DOMAIN_TEMPLATE",
	"SLIPWAY_VM_NAME":             "a replica is named after its container",
	"SLIPWAY_VM_TAKE_OVER":        "nobody proves here that a predecessor is dead",
	"SLIPWAY_NODE_NATS_REPLICAS":  "a node is not on the bus",
	"SLIPWAY_NODE_NATS_MAX_MIB":   "a node is not on the bus",
	"SLIPWAY_GATEWAY_TLS_CERT":    "a proxy in front speaks HTTPS, and renews its certificate",
	"SLIPWAY_GATEWAY_TLS_KEY":     "a proxy in front speaks HTTPS, and renews its certificate",
	"SLIPWAY_AUTHORITY":           "the volumes of the one-shots are where it looks",
	"SLIPWAY_KEYS":                "the volumes of the one-shots are where it looks",
	"SLIPWAY_DATA":                "the volumes of the one-shots are where it looks",
	"SLIPWAY_TEMPLATES":           "the volumes of the one-shots are where it looks",
	"SLIPWAY_POSTGRES_HOST":       "the container's name is its default",
	"SLIPWAY_POSTGRES_DATABASE":   "the container's name is its default",
	"SLIPWAY_CRASH_AT":            "tests alone ask for it",
	"SLIPWAY_CRASH_LOG":           "tests alone ask for it",
	"SLIPWAY_CRASH_WHEN":          "tests alone ask for it",
	"SLIPWAY_FAIL_AT":             "tests alone ask for it",
	"SLIPWAY_GATEWAY_LISTEN_OWN":  "one port has every dialect here",
}

// program is what runs in containers: where the struct of its settings is, how they begin, which services run it.
type program struct {
	dir, config, prefix string
	services            []string
}

// programs lists the programs of the table, and the set-up.
func programs() []program {
	list := []program{{"deploy/setup", "Config", "SLIPWAY_", []string{"keys", "certs", "migrate", "init"}}}
	for _, p := range parts.All() {
		one := program{p.Command, "config", p.Prefix(), []string{p.Name}}
		if p.Migrate != nil {
			one.dir, one.config = filepath.Dir(filepath.Dir(p.Command)), "Program"
		}
		if p.Name == "node" {
			one.services = append(one.services, "node-libvirt")
		}
		list = append(list, one)
	}
	return list
}

// TestSettingsArePassed: docker-compose.yml passes every setting of every program, or the list above says why not.
func TestSettingsArePassed(t *testing.T) {
	t.Parallel()
	var file struct {
		Services map[string]struct{ Environment map[string]string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &file); err != nil {
		t.Fatal(err)
	}
	known, passed := map[string]bool{}, map[string]bool{}
	for _, p := range programs() {
		settings := fields(t, p.dir, p.config, p.prefix)
		if len(settings) < 5 {
			t.Errorf("%s has hardly any settings: %q", p.dir, settings)
		}
		for _, name := range append(settings, "SLIPWAY_LOG") {
			known[name] = true
			some := false // the kinds of nodes differ in what they need
			for _, s := range p.services {
				_, plain := file.Services[s].Environment[name]
				_, secret := file.Services[s].Environment[name+"_FILE"]
				some = some || plain || secret
			}
			if passed[name] = some; !some && leftOut[name] == "" {
				t.Errorf("%s reads %s, which %v does not pass", p.dir, name, p.services)
			}
			if some && leftOut[name] != "" {
				t.Errorf("%s is left out because %s, and yet it is passed", name, leftOut[name])
			}
		}
		for _, s := range p.services {
			for name := range file.Services[s].Environment {
				if plain := strings.TrimSuffix(name, "_FILE"); strings.HasPrefix(name, "SLIPWAY_") && !slices.Contains(settings, plain) && plain != "SLIPWAY_LOG" {
					t.Errorf("%s is told %s, which it does not read", s, name)
				}
			}
		}
	}
	for name := range everywhere(t) {
		known[name] = true
		if !passed[name] && leftOut[name] == "" {
			t.Errorf("something reads %s, which no container is told", name)
		}
	}
	for name := range leftOut {
		if !known[name] {
			t.Errorf("%s is left out, and nothing reads it", name)
		}
	}
}

// fields are the variables that fill a struct, which is in a folder of ours.
func fields(t *testing.T, dir, name, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		var found *ast.StructType
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.TypeSpec); ok && s.Name.Name == name {
				found, _ = s.Type.(*ast.StructType)
			}
			return found == nil
		})
		if found == nil {
			continue
		}
		var list []string
		for _, field := range found.Fields.List {
			if len(field.Names) == 1 && !field.Names[0].IsExported() {
				continue
			}
			var tag reflect.StructTag
			if field.Tag != nil {
				text, err := strconv.Unquote(field.Tag.Value)
				if err != nil {
					t.Fatal(err)
				}
				tag = reflect.StructTag(text)
			}
			if tag.Get("env") == "-" {
				continue
			}
			if env, _, _ := strings.Cut(tag.Get("env"), ","); env != "" {
				list = append(list, prefix+env)
				continue
			}
			switch kind := field.Type.(type) { // a struct that is part of this one
			case *ast.Ident:
				list = append(list, fields(t, dir, kind.Name, prefix+tag.Get("envPrefix"))...)
			case *ast.SelectorExpr:
				list = append(list, fields(t, folder(t, f, kind.X.(*ast.Ident).Name), kind.Sel.Name, prefix+tag.Get("envPrefix"))...)
			default:
				t.Errorf("%s: a field of %s is nothing that is understood here", path, name)
			}
		}
		return list
	}
	t.Fatalf("%s has no struct %s", dir, name)
	return nil
}

// folder is where a file imports a package of ours from.
func folder(t *testing.T, f *ast.File, name string) string {
	t.Helper()
	for _, i := range f.Imports {
		if path, _ := strconv.Unquote(i.Path.Value); strings.HasPrefix(path, "slipway.dev/") && strings.HasSuffix(path, "/"+name) {
			return strings.TrimPrefix(path, "slipway.dev/")
		}
	}
	t.Fatalf("nothing of ours is imported as %s", name)
	return ""
}

// everywhere are the variables that the sources of what runs in containers name in full.
func everywhere(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, dir := range []string{"pkg", "services", "gateway", "deploy/setup"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "pgembed") || strings.Contains(path, "pgtest") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range regexp.MustCompile(`"(SLIPWAY_[A-Z_]*[A-Z])"`).FindAllStringSubmatch(string(text), -1) {
				names[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range programs() { // these are prefixes
		maps.DeleteFunc(names, func(n string, _ bool) bool { return n+"_" == p.prefix })
	}
	return names
}
