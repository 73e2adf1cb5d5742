package vmmanager

import (
	"errors"
	"net/url"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	querypb "slipway.dev/proto/query/v1"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/where"
)

// queryField is the field that lists declare for where, orderby and limit.
const queryField = "query"

var queryMessage = (*querypb.Query)(nil).ProtoReflect().Descriptor().FullName()

// queryParser fills a request from the query of the URL: the parameters of a list into its query field, others into
// the scalar fields of their names. What the message does not know is ignored.
type queryParser struct{}

// Parse implements runtime.QueryParameterParser.
func (queryParser) Parse(msg proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	if len(values) == 0 {
		return nil
	}
	m := msg.ProtoReflect()
	fields := m.Descriptor().Fields()
	if fd := fields.ByName(queryField); fd != nil && fd.Message() != nil && fd.Message().FullName() == queryMessage {
		q, err := where.Query(values)
		if f, ok := errors.AsType[*fault.Fault](err); ok {
			return carry(f)
		}
		if err := checkFields(m.Descriptor(), where.Fields(values)); err != nil {
			return carry(err)
		}
		if q != nil {
			m.Set(fd, protoreflect.ValueOfMessage(q.ProtoReflect()))
		}
	}
	for name, list := range values {
		fd := fields.ByName(protoreflect.Name(name))
		if fd == nil || fd.Message() != nil || fd.IsList() || len(list) == 0 || filter.HasCommonPrefix([]string{name}) {
			continue
		}
		if err := runtime.PopulateFieldFromPath(msg, name, list[len(list)-1]); err != nil {
			return carry(fault.Invalid.With("expected %s", expected(fd)).On(name))
		}
	}
	return nil
}
