package rpc

import (
	"strings"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// handOver passes messages between services of one process. It copies a request, because its caller may change the request
// later. It does not copy an answer deeply, so that a page of a list is not copied row by row; only the outermost message is
// new, as gRPC's interface demands. A handler must therefore not change a message that it has returned.
type handOver struct{ inprocgrpc.ProtoCloner }

// Copy implements inprocgrpc.Cloner.
func (h handOver) Copy(out, in any) error {
	to, isMessage := out.(proto.Message)
	from, isToo := in.(proto.Message)
	if !isMessage || !isToo || to.ProtoReflect().Descriptor() != from.ProtoReflect().Descriptor() ||
		strings.HasSuffix(string(from.ProtoReflect().Descriptor().Name()), "Request") {
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
