package vmmanager

import (
	"fmt"
	"io"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/proto"
)

const contentType = "application/json"

// marshaler is the JSON of the dialect, whatever Content-Type a request names.
type marshaler struct{}

// ContentType implements runtime.Marshaler.
func (marshaler) ContentType(v any) string {
	raw, ok := v.(*httpbody.HttpBody)
	if !ok {
		return contentType
	}
	switch t := raw.GetContentType(); {
	case t == "":
		return "application/octet-stream"
	case strings.HasPrefix(t, "text/") && !strings.Contains(t, "charset"):
		return t + "; charset=utf-8"
	default:
		return t
	}
}

// Marshal implements runtime.Marshaler.
func (marshaler) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case *httpbody.HttpBody:
		return v.GetData(), nil
	case *shaped:
		return v.encode()
	case proto.Message:
		return encode(v)
	default:
		return nil, fmt.Errorf("no JSON for a %T", v)
	}
}

// Unmarshal implements runtime.Marshaler.
func (m marshaler) Unmarshal(data []byte, v any) error {
	return m.NewDecoder(strings.NewReader(string(data))).Decode(v)
}

// NewDecoder implements runtime.Marshaler.
func (marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		msg, ok := v.(proto.Message)
		if !ok {
			return fmt.Errorf("no JSON for a %T", v)
		}
		return decode(r, msg)
	})
}

// NewEncoder implements runtime.Marshaler.
func (m marshaler) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		text, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
}
