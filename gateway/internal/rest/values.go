package rest

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// wellKnown are the messages that JSON spells as one value.
var wellKnown = map[protoreflect.FullName]struct {
	expected string
	fits     func(json.Token) bool
}{
	// A field in which null differs from absence. Dialects have such fields for numbers.
	"google.protobuf.Value": {"a number or null", func(tok json.Token) bool {
		_, ok := number(tok)
		return ok
	}},
	"google.protobuf.Timestamp": {"a time such as 2030-01-31T12:00:00Z", func(tok json.Token) bool {
		s, ok := tok.(string)
		_, err := time.Parse(time.RFC3339, s)
		return ok && err == nil
	}},
	"google.protobuf.Duration": {`a duration such as "1.5s"`, func(tok json.Token) bool {
		s, ok := tok.(string)
		_, err := time.ParseDuration(s)
		return ok && err == nil && strings.HasSuffix(s, "s")
	}},
}

func fits(fd protoreflect.FieldDescriptor, tok json.Token) bool {
	text, isText := tok.(string)
	switch fd.Kind() {
	case protoreflect.BoolKind:
		_, ok := tok.(bool)
		return ok
	case protoreflect.StringKind:
		return isText
	case protoreflect.BytesKind:
		_, err := base64.StdEncoding.DecodeString(text)
		return isText && err == nil
	case protoreflect.EnumKind:
		return isText && fd.Enum().Values().ByName(protoreflect.Name(text)) != nil
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		_, ok := number(tok)
		return ok
	default:
		n, ok := number(tok)
		least, most := bounds(fd.Kind())
		return ok && n == math.Trunc(n) && n >= least && n <= most
	}
}

// bounds are the smallest and the greatest number of a kind. 64-bit numbers are compared with the precision of a
// float64.
func bounds(k protoreflect.Kind) (least, most float64) {
	switch k {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return math.MinInt64, math.MaxInt64
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return 0, math.MaxUint64
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return 0, math.MaxInt32
	default:
		return math.MinInt32, math.MaxInt32
	}
}

// number reads a number, in quotes or not: PHP clients send both.
func number(tok json.Token) (float64, bool) {
	text := ""
	switch v := tok.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = v
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && json.Valid([]byte(text)) // not what Go alone calls a number, such as +5, 05 or 0x5p0
}

func expected(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.StringKind:
		return "text"
	case protoreflect.BytesKind:
		return "text in base64"
	case protoreflect.EnumKind:
		var names []string
		for i := range fd.Enum().Values().Len() {
			names = append(names, string(fd.Enum().Values().Get(i).Name()))
		}
		return "one of " + strings.Join(names, ", ")
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return "a number"
	default:
		if is64(fd) {
			return "a whole number"
		}
		return "a whole number of at most 2147483647"
	}
}

// found names the kind of a token, never its value.
func found(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return "a number"
	case string:
		return "text"
	default:
		if v == json.Delim('[') {
			return "a list"
		}
		return "an object"
	}
}

func isWrapper(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case "google.protobuf.StringValue", "google.protobuf.Int32Value", "google.protobuf.UInt32Value",
		"google.protobuf.Int64Value", "google.protobuf.UInt64Value", "google.protobuf.BoolValue", "google.protobuf.DoubleValue",
		"google.protobuf.FloatValue", "google.protobuf.BytesValue":
		return true
	default:
		return false
	}
}
