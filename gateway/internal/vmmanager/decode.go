package vmmanager

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

// Bounds of a body, besides its length.
const (
	maxDepth   = 32
	maxIgnored = 20 // names that are worth a place in the log
)

// body is a request's body that knows the request.
type body struct {
	io.ReadCloser
	request *edge.Request
}

// decode reads a message. Nothing at all, null and [] (an empty object as PHP writes it) are the empty message.
func decode(r io.Reader, msg proto.Message) error {
	data, err := io.ReadAll(r)
	if err != nil {
		if f, ok := edge.TooLarge(err); ok {
			return carry(f)
		}
		return carry(fault.Invalid.With("the body ended early"))
	}
	c := checker{dec: json.NewDecoder(bytes.NewReader(data))}
	c.dec.UseNumber()
	empty, err := c.body(data, msg.ProtoReflect().Descriptor())
	if b, ok := r.(body); ok {
		b.request.Ignored = c.ignored
	}
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return carry(f)
	}
	if empty {
		return nil
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, msg); err != nil {
		return carry(fault.Invalid.With("the body is not valid")) // its text may quote a password
	}
	return nil
}

// checker compares JSON with what a message wants, and says what is wrong in the client's words: protojson speaks of
// fields by other names, and quotes values.
type checker struct {
	dec     *json.Decoder
	depth   int
	ignored []string
}

// body checks a whole body and tells whether it is empty. All its errors are faults.
func (c *checker) body(data []byte, md protoreflect.MessageDescriptor) (empty bool, err error) {
	if !utf8.Valid(data) {
		return false, fault.Invalid.With("the body is not UTF-8 text")
	}
	tok, err := c.dec.Token()
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil:
		return false, c.broken(err)
	case tok == nil:
		return true, c.end()
	case tok == json.Delim('{'):
		if err := c.message(md, ""); err != nil {
			return false, err
		}
		return false, c.end()
	case tok == json.Delim('[') && !c.dec.More():
		if _, err := c.dec.Token(); err != nil {
			return false, c.broken(err)
		}
		return true, c.end()
	default:
		return false, fault.Invalid.With("the body: expected a JSON object, found %s", found(tok))
	}
}

func (c *checker) end() error {
	if _, err := c.dec.Token(); !errors.Is(err, io.EOF) {
		return fault.Invalid.With("unexpected data after the JSON body")
	}
	return nil
}

func (c *checker) broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Invalid.With("the body is not JSON: it ends too early")
	}
	return fault.Invalid.With("the body is not JSON: error near byte %d", c.dec.InputOffset())
}

func (c *checker) down() error {
	if c.depth++; c.depth > maxDepth {
		return fault.Invalid.With("the body is nested deeper than %d", maxDepth)
	}
	return nil
}

// message reads an object whose bracket was taken.
func (c *checker) message(md protoreflect.MessageDescriptor, path string) error {
	if err := c.down(); err != nil {
		return err
	}
	seen := map[protoreflect.FieldNumber]bool{}
	for c.dec.More() {
		tok, err := c.dec.Token()
		if err != nil {
			return c.broken(err)
		}
		key, _ := tok.(string) // the decoder takes nothing else here
		fd := md.Fields().ByTextName(key)
		if fd == nil {
			fd = md.Fields().ByJSONName(key)
		}
		if fd == nil {
			c.ignore(path + key)
			if err := c.skip(); err != nil {
				return err
			}
			continue
		}
		name := path + string(fd.Name())
		if seen[fd.Number()] {
			return fault.Invalid.With("given twice").On(name)
		}
		seen[fd.Number()] = true
		if err := c.field(fd, name); err != nil {
			return err
		}
	}
	return c.up()
}

func (c *checker) up() error {
	c.depth--
	if _, err := c.dec.Token(); err != nil {
		return c.broken(err)
	}
	return nil
}

func (c *checker) ignore(name string) {
	if len(c.ignored) < maxIgnored {
		c.ignored = append(c.ignored, strconv.QuoteToASCII(name))
	}
}

// skip reads one value that nothing wants.
func (c *checker) skip() error {
	tok, err := c.dec.Token()
	if err != nil {
		return c.broken(err)
	}
	if tok != json.Delim('{') && tok != json.Delim('[') {
		return nil
	}
	if err := c.down(); err != nil {
		return err
	}
	for c.dec.More() {
		if tok == json.Delim('{') {
			if _, err := c.dec.Token(); err != nil {
				return c.broken(err)
			}
		}
		if err := c.skip(); err != nil {
			return err
		}
	}
	return c.up()
}

func (c *checker) field(fd protoreflect.FieldDescriptor, path string) error {
	if fd.IsMap() {
		return c.skip()
	}
	tok, err := c.dec.Token()
	if err != nil {
		return c.broken(err)
	}
	if tok == nil {
		return nil // absent
	}
	if !fd.IsList() {
		return c.single(fd, path, tok)
	}
	if tok != json.Delim('[') {
		return wrong(path, "a list", tok)
	}
	if err := c.down(); err != nil {
		return err
	}
	for i := 0; c.dec.More(); i++ {
		item := path + "[" + strconv.Itoa(i) + "]"
		tok, err := c.dec.Token()
		if err != nil {
			return c.broken(err)
		}
		if err := c.single(fd, item, tok); err != nil {
			return err
		}
	}
	return c.up()
}

func (c *checker) single(fd protoreflect.FieldDescriptor, path string, tok json.Token) error {
	if md := fd.Message(); md != nil {
		if isWrapper(md) {
			return c.single(md.Fields().ByName("value"), path, tok)
		}
		if md.FullName() == nullable {
			if _, ok := number(tok); !ok {
				return wrong(path, "a number or null", tok)
			}
			return nil
		}
		if tok != json.Delim('{') {
			return wrong(path, "an object", tok)
		}
		return c.message(md, path+".")
	}
	if !fits(fd, tok) {
		return wrong(path, expected(fd), tok)
	}
	if s, ok := tok.(string); ok && strings.IndexByte(s, 0) >= 0 {
		return fault.Invalid.With("text with a zero byte").On(path)
	}
	return nil
}

// nullable is the type of fields in which null means something else than absence. The dialect knows them for numbers.
const nullable = "google.protobuf.Value"

func fits(fd protoreflect.FieldDescriptor, tok json.Token) bool {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		_, ok := tok.(bool)
		return ok
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		_, ok := tok.(string)
		return ok
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		_, ok := number(tok)
		return ok
	default: // the test of descriptors sees to it that all of them are of 32 bits
		n, ok := number(tok)
		return ok && n == math.Trunc(n) && n >= math.MinInt32 && n <= math.MaxInt32
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
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

func expected(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.EnumKind:
		return "text"
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return "a number"
	default:
		return "a whole number of at most 2147483647"
	}
}

func wrong(path, want string, tok json.Token) error {
	return fault.Invalid.With("expected %s, found %s", want, found(tok)).On(path)
}

// found names what a token is, never what is in it.
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
		"google.protobuf.BoolValue", "google.protobuf.DoubleValue", "google.protobuf.FloatValue", "google.protobuf.BytesValue":
		return true
	default:
		return false
	}
}
