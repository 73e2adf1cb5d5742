package access

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accesspb "slipway.dev/proto/access/v1"
	restpb "slipway.dev/proto/rest/v1"
)

// maxObjectID bounds ids that are text.
const maxObjectID = 64

// ObjectOf returns what a method declares as the object of its audit record; nil for a method that declares none.
func ObjectOf(d protoreflect.MethodDescriptor) *accesspb.Object {
	o, _ := proto.GetExtension(d.Options(), accesspb.E_Object).(*accesspb.Object)
	return o
}

// Recorded reports whether a call of the method has an audit record of its own.
func (m Method) Recorded() bool { return m.Mutates && !m.Object.GetPart() }

// ByName returns the method of this full name, such as "/vm.v3.HostService/StartHost", of the protos that are linked.
func ByName(name string) (Method, bool) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")))
	method, ok := d.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return Method{}, false
	}
	return of(method), true
}

// ObjectID returns the id of the object that req names, or "" if the id of the object is not in the request.
func (m Method) ObjectID(req proto.Message) string {
	if m.Object.GetField() == "" || req == nil {
		return ""
	}
	r := req.ProtoReflect()
	fd := r.Descriptor().Fields().ByName(protoreflect.Name(m.Object.GetField()))
	if fd == nil || !HoldsID(fd) {
		return ""
	}
	text := r.Get(fd).String()
	if len(text) > maxObjectID {
		return ""
	}
	return text
}

// HoldsID reports whether a field can be the id of an object in the audit log: a number or a text, and no secret.
func HoldsID(fd protoreflect.FieldDescriptor) bool {
	secret, _ := proto.GetExtension(fd.Options(), restpb.E_Secret).(bool)
	if fd.IsList() || secret {
		return false
	}
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.StringKind:
		return true
	default:
		return false
	}
}
