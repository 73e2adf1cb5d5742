package rpc

import (
	"strings"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// handOver passes messages between services of one process. A request is copied, because its caller may go on with it. An
// answer is the caller's from the moment that it is given: only its outermost message is made anew, for that is all that
// gRPC lets one have, and a page of a list is not copied row by row. So a handler never touches again what it answered.
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
