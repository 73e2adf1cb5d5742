package wire

import (
	_ "embed"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/proto/all"
	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/accept"
	"slipway.dev/pkg/access"
)

//go:embed requests.txt
var requests string

// inputs returns the messages of requests by route.
func inputs() map[string]protoreflect.MessageDescriptor {
	all := map[string]protoreflect.MessageDescriptor{}
	eachMethod(func(m protoreflect.MethodDescriptor) {
		for _, r := range access.RoutesOf(m) {
			all[r.Verb+" "+r.Path] = m.Input()
		}
	})
	return all
}

// eachMethod visits the methods of the dialect.
func eachMethod(visit func(protoreflect.MethodDescriptor)) {
	for _, f := range all.Files() {
		if name, _ := proto.GetExtension(f.Options(), restpb.E_Dialect).(string); name != "ispsystem" {
			continue
		}
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				visit(methods.Get(j))
			}
		}
	}
}

// TestDocumentedFields: no documented field of a request is unknown, and so ignored.
func TestDocumentedFields(t *testing.T) {
	t.Parallel()
	known, line, seen := inputs(), "", 0
	for text := range strings.SplitSeq(requests+"\nend", "\n") {
		if strings.HasPrefix(text, " ") {
			line += text
			continue
		}
		if route, fields, ok := strings.Cut(line, " = "); ok {
			md := known[route]
			if md == nil {
				t.Errorf("%s is no route", route)
			}
			for field := range strings.FieldsSeq(fields) {
				if seen++; md != nil && !has(md, field) {
					t.Errorf("%s: the request has no field %s", route, field)
				}
			}
		}
		line = text
	}
	if seen < 120 {
		t.Errorf("only %d fields", seen)
	}
}

func has(md protoreflect.MessageDescriptor, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	fd := md.Fields().ByName(protoreflect.Name(name))
	return fd != nil && (!deeper || fd.Message() != nil && has(fd.Message(), rest))
}

// TestNoFieldIsIgnored: a service reads every field of every request, or accepts some values of the field alone. A request never
// succeeds with less than it asked for.
func TestNoFieldIsIgnored(t *testing.T) {
	t.Parallel()
	u := readUses(t)
	seen := map[protoreflect.FullName]bool{}
	var walk func(md protoreflect.MessageDescriptor)
	walk = func(md protoreflect.MessageDescriptor) {
		if seen[md.FullName()] || strings.HasPrefix(string(md.FullName()), "google.protobuf.") || md.FullName() == "query.v1.Query" {
			return
		}
		seen[md.FullName()] = true
		for i := range md.Fields().Len() {
			fd := md.Fields().Get(i)
			if accept.Of(fd) != nil {
				continue
			}
			if !u.reads(md, fd) {
				t.Errorf("no service reads %s", fd.FullName())
			}
			if fd.Message() != nil && !fd.IsMap() {
				walk(fd.Message())
			}
		}
	}
	for _, md := range inputs() {
		walk(md)
	}
	if len(seen) < 80 {
		t.Errorf("only %d messages", len(seen))
	}
	// A field that only answers have proves that the look is not blind.
	blind := slices.ContainsFunc([]protoreflect.Name{"sha256", "kms_ip"}, func(name protoreflect.Name) bool {
		md := inputs()["GET /vm/v3/os/{id}"].ParentFile().Messages().ByName("OS")
		return u.reads(md, md.Fields().ByName(name))
	})
	if blind {
		t.Error("fields that no service reads count as read")
	}
}
