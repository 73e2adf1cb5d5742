package access

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// everyService among the callers of a method is every service of the installation but its own. A service that is added is a
// caller by its line in proto/all, which auth links.
const everyService = "*"

const (
	edge  = "gateway" // has no proto of its own
	agent = "node"    // is not meant by everyService: the hosts of agents are trusted less
)

// callers returns the names of the services that may call a method, given what it declares.
func callers(d protoreflect.MethodDescriptor, declared []string) []string {
	if !slices.Contains(declared, everyService) {
		return declared
	}
	own := serviceOf(d.ParentFile())
	list := []string{edge}
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if name := serviceOf(f); f.Services().Len() > 0 && name != own && name != agent {
			list = append(list, name)
		}
		return true
	})
	slices.Sort(list)
	return slices.Compact(list)
}

// serviceOf returns the service that a file belongs to, such as "vm" for the package vm.v3.
func serviceOf(f protoreflect.FileDescriptor) string {
	name, _, _ := strings.Cut(string(f.Package()), ".")
	return name
}
