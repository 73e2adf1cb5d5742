package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	restpb "slipway.dev/proto/rest/v1"

	"slipway.dev/pkg/fault"

	"slipway.dev/gateway/internal/edge"
)

// Limits of a body, besides its length.
const (
	maxDepth   = 32
	maxIgnored = 20  // names that are worth a place in the log
	maxItems   = 256 // of a list or a map whose field has no max_items
)

// byteOrderMark is what some editors and clients write before UTF-8 text.
var byteOrderMark = []byte("\uFEFF")

// errBody is the fault of a body that the checker takes and protojson does not. The text of protojson may quote a password.
var errBody = fault.Invalid.With("the body is not valid")

// decode reads a message and records unknown fields for the log. No text at all, null and [] (an empty object as PHP
// writes it) are the empty message.
func (c Codec) decode(data []byte, msg proto.Message, q *edge.Request) error {
	data = bytes.TrimPrefix(data, byteOrderMark)
	ch := checker{dec: json.NewDecoder(bytes.NewReader(data)), data: data, loose: c.Loose}
	ch.dec.UseNumber()
	empty, err := ch.body(data, msg.ProtoReflect().Descriptor())
	q.Ignored = ch.ignored
	if err != nil || empty {
		return err
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(ch.respelled(), msg); err != nil {
		return errBody
	}
	if ch.hidden {
		clearHidden(msg.ProtoReflect())
	}
	if !plain(data) {
		compose(msg.ProtoReflect())
	}
	return nil
}

// plain reports whether a body holds characters of ASCII alone.
func plain(data []byte) bool {
	return !bytes.ContainsFunc(data, func(r rune) bool { return r >= utf8.RuneSelf }) && !bytes.Contains(data, []byte(`\u`))
}

// compose gives the texts of a message the composed form of Unicode (NFC), in which texts are stored and compared. Secrets stay as
// they are.
func compose(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case Secret(fd) || fd.IsMap():
		case fd.IsList():
			list := v.List()
			for i := range list.Len() {
				switch {
				case fd.Message() != nil:
					compose(list.Get(i).Message())
				case fd.Kind() == protoreflect.StringKind:
					list.Set(i, protoreflect.ValueOfString(norm.NFC.String(list.Get(i).String())))
				}
			}
		case fd.Message() != nil:
			compose(v.Message())
		case fd.Kind() == protoreflect.StringKind && !norm.NFC.IsNormalString(v.String()):
			m.Set(fd, protoreflect.ValueOfString(norm.NFC.String(v.String())))
		}
		return true
	})
}

// clearHidden clears the hidden fields that a client set.
func clearHidden(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case Hidden(fd):
			m.Clear(fd)
		case fd.IsList() && fd.Message() != nil:
			for i := range v.List().Len() {
				clearHidden(v.List().Get(i).Message())
			}
		case fd.Message() != nil && !fd.IsMap():
			clearHidden(v.Message())
		}
		return true
	})
}

// checker compares JSON with the message's fields and reports errors in the client's spelling. protojson would name
// fields differently and quote values.
type checker struct {
	dec     *json.Decoder
	depth   int
	path    []byte // of the value that is being read, such as "disks[1].size_mib"; one buffer for the whole body
	ignored []string
	hidden  bool // a hidden field is there

	data  []byte // what dec reads
	loose bool   // see Codec.Loose
	edits []edit
}

// body checks a whole body and reports whether it is empty. All its errors are faults.
func (c *checker) body(data []byte, md protoreflect.MessageDescriptor) (empty bool, err error) {
	if !utf8.Valid(data) {
		return false, fault.Invalid.With("the body is not UTF-8 text")
	}
	tok, err := c.token()
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil:
		return false, c.broken(err)
	case tok == nil:
		return true, c.end()
	case tok == json.Delim('{'):
		if err := c.message(md); err != nil {
			return false, err
		}
		return false, c.end()
	case tok == json.Delim('[') && !c.dec.More():
		if _, err := c.token(); err != nil {
			return false, c.broken(err)
		}
		return true, c.end()
	default:
		return false, fault.Invalid.With("the body: expected a JSON object, found %s", found(tok))
	}
}

func (c *checker) end() error {
	if _, err := c.token(); !errors.Is(err, io.EOF) {
		return fault.Invalid.With("unexpected data after the JSON body")
	}
	return nil
}

func (c *checker) broken(err error) error {
	if f, ok := errors.AsType[*fault.Fault](err); ok {
		return f
	}
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
func (c *checker) message(md protoreflect.MessageDescriptor) error {
	if err := c.down(); err != nil {
		return err
	}
	seen := map[protoreflect.FieldNumber]bool{}
	for c.dec.More() {
		tok, err := c.token()
		if err != nil {
			return c.broken(err)
		}
		key, _ := tok.(string) // the decoder takes nothing else here
		fd := md.Fields().ByTextName(key)
		if fd == nil {
			fd = md.Fields().ByJSONName(key)
		}
		most := math.MaxInt
		if fd != nil && Hidden(fd) {
			most = itemsOf(fd) // protojson reads the field before clearHidden removes it
			fd, c.hidden = nil, true
		}
		if fd == nil {
			c.ignore(key)
			if err := c.skip(most); err != nil {
				return err
			}
			continue
		}
		if err := c.member(fd, seen); err != nil {
			return err
		}
	}
	return c.up()
}

// member reads the value of a field, which may come once.
func (c *checker) member(fd protoreflect.FieldDescriptor, seen map[protoreflect.FieldNumber]bool) error {
	mark := len(c.path)
	if mark > 0 {
		c.path = append(c.path, '.')
	}
	c.path = append(c.path, fd.Name()...)
	if seen[fd.Number()] {
		return fault.Invalid.With("given more than once").On(string(c.path))
	}
	seen[fd.Number()] = true
	err := c.field(fd)
	c.path = c.path[:mark]
	return err
}

func (c *checker) up() error {
	c.depth--
	if _, err := c.token(); err != nil {
		return c.broken(err)
	}
	return nil
}

func (c *checker) ignore(key string) {
	if len(c.ignored) >= maxIgnored {
		return
	}
	if len(c.path) > 0 {
		key = string(c.path) + "." + key
	}
	c.ignored = append(c.ignored, strconv.QuoteToASCII(key))
}

// skip reads the value of an unknown field. No list or object in it may have more than most items.
func (c *checker) skip(most int) error {
	tok, err := c.token()
	if err != nil {
		return c.broken(err)
	}
	if tok != json.Delim('{') && tok != json.Delim('[') {
		return nil
	}
	if err := c.down(); err != nil {
		return err
	}
	for i := 0; c.dec.More(); i++ {
		if i == most {
			return tooMany(most)
		}
		if tok == json.Delim('{') {
			if _, err := c.token(); err != nil {
				return c.broken(err)
			}
		}
		if err := c.skip(most); err != nil {
			return err
		}
	}
	return c.up()
}

// itemsOf returns how many items a list or a map of requests may have.
func itemsOf(fd protoreflect.FieldDescriptor) int {
	if n, _ := proto.GetExtension(fd.Options(), restpb.E_MaxItems).(int32); n > 0 {
		return int(n)
	}
	return maxItems
}

func tooMany(most int) *fault.Fault { return fault.Invalid.With("at most %d items", most) }

func (c *checker) field(fd protoreflect.FieldDescriptor) error {
	tok, err := c.token()
	if err != nil {
		return c.broken(err)
	}
	if tok == nil {
		return nil // absent
	}
	if fd.IsMap() {
		return c.mapping(fd, tok)
	}
	if !fd.IsList() {
		return c.single(fd, tok)
	}
	if tok != json.Delim('[') {
		return c.wrong("a list", tok)
	}
	if err := c.down(); err != nil {
		return err
	}
	mark, most := len(c.path), itemsOf(fd)
	if other := emptied(fd); other != "" && !c.dec.More() {
		return c.asEmptied(other)
	}
	for i := 0; c.dec.More(); i++ {
		if i == most {
			return tooMany(most).On(string(c.path))
		}
		tok, err := c.token()
		if err != nil {
			return c.broken(err)
		}
		c.path = append(strconv.AppendInt(append(c.path, '['), int64(i), 10), ']')
		if err := c.single(fd, tok); err != nil {
			return err
		}
		c.path = c.path[:mark]
	}
	return c.up()
}

// mapping reads an object whose keys are the client's.
func (c *checker) mapping(fd protoreflect.FieldDescriptor, tok json.Token) error {
	if c.emptyList(tok) {
		return c.asEmptyObject()
	}
	if tok != json.Delim('{') {
		return c.wrong("an object", tok)
	}
	if err := c.down(); err != nil {
		return err
	}
	mark, most := len(c.path), itemsOf(fd)
	for i := 0; c.dec.More(); i++ {
		if i == most {
			return tooMany(most).On(string(c.path))
		}
		key, err := c.token()
		if err != nil {
			return c.broken(err)
		}
		name, _ := key.(string) // the decoder takes nothing else here
		tok, err := c.token()
		if err != nil {
			return c.broken(err)
		}
		c.path = strconv.AppendQuoteToASCII(append(c.path, '.'), name)
		if err := c.single(fd.MapValue(), tok); err != nil {
			return err
		}
		c.path = c.path[:mark]
	}
	return c.up()
}

func (c *checker) single(fd protoreflect.FieldDescriptor, tok json.Token) error {
	if md := fd.Message(); md != nil {
		if isWrapper(md) {
			return c.single(md.Fields().ByName("value"), tok)
		}
		if want, ok := wellKnown[md.FullName()]; ok {
			if !want.fits(tok) {
				return c.wrong(want.expected, tok)
			}
			return nil
		}
		if c.emptyList(tok) {
			return c.asEmptyObject()
		}
		if tok != json.Delim('{') {
			return c.wrong("an object", tok)
		}
		return c.message(md)
	}
	if fd.Kind() == protoreflect.BoolKind && c.asBool(tok) {
		return nil
	}
	if !fits(fd, tok) {
		return c.wrong(expected(fd), tok)
	}
	if s, ok := tok.(string); ok && strings.IndexByte(s, 0) >= 0 {
		return fault.Invalid.With("text with a zero byte").On(string(c.path))
	}
	return nil
}

func (c *checker) wrong(want string, tok json.Token) error {
	return fault.Invalid.With("expected %s, found %s", want, found(tok)).On(string(c.path))
}
