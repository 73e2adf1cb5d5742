package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// uses are the fields of messages that the services read.
type uses struct {
	read    map[string]bool // "package.Type.Field", by names of Go
	methods []wanted
	imports types.Importer
}

// wanted is a getter that code calls by an interface: it reads the field of each message with the methods of the interface.
type wanted struct {
	of    *types.Interface
	field string
}

// reads reports whether a service reads a field of a message.
func (u *uses) reads(md protoreflect.MessageDescriptor, fd protoreflect.FieldDescriptor) bool {
	mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName())
	if err != nil {
		return false
	}
	t := reflect.TypeOf(mt.Zero().Interface()).Elem()
	name, field := t.PkgPath()+"."+t.Name(), goField(t, fd)
	if u.read[name+"."+field] {
		return true
	}
	pkg, err := u.imports.Import(t.PkgPath())
	if err != nil {
		return false
	}
	of := types.NewPointer(pkg.Scope().Lookup(t.Name()).Type())
	for _, w := range u.methods {
		if w.field == field && types.Implements(of, w.of) {
			return true
		}
	}
	return false
}

// goField returns the name of a field in the struct of its message.
func goField(t reflect.Type, fd protoreflect.FieldDescriptor) string {
	for i := range t.NumField() {
		parts := strings.Split(t.Field(i).Tag.Get("protobuf"), ",")
		if len(parts) > 1 && parts[1] == strconv.Itoa(int(fd.Number())) {
			return t.Field(i).Name
		}
	}
	return ""
}

// listed is a package as the go command lists it.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

// readUses reads the code of all services.
func readUses(t *testing.T) *uses {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles", "slipway.dev/services/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	exports, own := map[string]string{}, []listed{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, "slipway.dev/services/") {
			own = append(own, p)
		}
	}
	set := token.NewFileSet()
	imports := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	u := &uses{read: map[string]bool{}, imports: imports}
	for _, p := range own {
		if strings.HasPrefix(p.ImportPath, "slipway.dev/services/node") {
			continue // agents have no routes
		}
		u.look(t, set, p)
	}
	return u
}

// look adds what one package reads.
func (u *uses) look(t *testing.T, set *token.FileSet, p listed) {
	t.Helper()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	if _, err := (&types.Config{Importer: u.imports}).Check(p.ImportPath, set, files, info); err != nil {
		t.Fatal(err)
	}
	for _, s := range info.Selections {
		u.add(s)
	}
}

// add adds what one selection reads: a field, or a getter of one.
func (u *uses) add(s *types.Selection) {
	name := s.Obj().Name()
	field, getter := strings.CutPrefix(name, "Get")
	recv := s.Recv()
	if ptr, ok := recv.(*types.Pointer); ok {
		recv = ptr.Elem()
	}
	if of, ok := recv.Underlying().(*types.Interface); ok {
		if getter && s.Kind() == types.MethodVal {
			u.methods = append(u.methods, wanted{of, field})
		}
		return
	}
	named, ok := recv.(*types.Named)
	if !ok || named.Obj().Pkg() == nil || !strings.HasPrefix(named.Obj().Pkg().Path(), "slipway.dev/proto/") {
		return
	}
	full := named.Obj().Pkg().Path() + "." + named.Obj().Name()
	switch {
	case getter && s.Kind() == types.MethodVal:
		u.read[full+"."+field] = true
	case s.Kind() == types.FieldVal:
		u.read[full+"."+name] = true
	}
}
