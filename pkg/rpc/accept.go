package rpc

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"slipway.dev/pkg/accept"
)

// checkersOf returns the checkers of a service's requests by full method name, for the methods that need one.
func checkersOf(service string) map[string]*accept.Checker {
	checkers := map[string]*accept.Checker{}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return checkers // rulesOf reports it
	}
	methods := d.(protoreflect.ServiceDescriptor).Methods()
	for i := range methods.Len() {
		if c := accept.For(methods.Get(i).Input()); c != nil {
			checkers["/"+service+"/"+string(methods.Get(i).Name())] = c
		}
	}
	return checkers
}

// accept returns a fault if a request asks for what the method does not do.
func (s *Server) accept(method string, req any) error {
	c := s.checkers[method]
	if c == nil {
		return nil
	}
	m, _ := req.(proto.Message)
	return c.Check(m)
}
