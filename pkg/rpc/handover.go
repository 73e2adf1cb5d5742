package rpc

import (
	"strings"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// handOver passes messages between services of one process. It copies a request, because its caller may change the request
// later. It does not copy an answer deeply, so that a page of a list is not copied row by row; only the outermost message is
// new, as gRPC's interface demands. A handler must therefore not change a message that it has returned, or sent on a stream.
type handOver struct{ inprocgrpc.ProtoCloner }

// Copy implements inprocgrpc.Cloner.
func (h handOver) Copy(out, in any) error {
	to, isMessage := out.(proto.Message)
	from, isToo := in.(proto.Message)
	if !isMessage || !isToo || to.ProtoReflect().Descriptor() != from.ProtoReflect().Descriptor() || isRequest(from) {
		return h.ProtoCloner.Copy(out, in)
	}
	proto.Reset(to)
	m := to.ProtoReflect()
	from.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		m.Set(fd, v)
		return true
	})
	m.SetUnknown(from.ProtoReflect().GetUnknown())
	return nil
}

// Clone implements inprocgrpc.Cloner: it makes what lies between the two ends of a stream.
func (h handOver) Clone(in any) (any, error) {
	from, isMessage := in.(proto.Message)
	if !isMessage || isRequest(from) {
		return h.ProtoCloner.Clone(in)
	}
	out := from.ProtoReflect().New().Interface()
	return out, h.Copy(out, in)
}

func isRequest(m proto.Message) bool {
	return strings.HasSuffix(string(m.ProtoReflect().Descriptor().Name()), "Request")
}
