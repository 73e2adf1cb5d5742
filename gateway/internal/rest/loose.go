package rest

import (
	"bytes"
	"encoding/json"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	restpb "slipway.dev/proto/rest/v1"
)

// edit replaces a part of a body by the spelling that protojson reads.
type edit struct {
	from, to int
	text     string
}

// respelled returns the body with all edits.
func (c *checker) respelled() []byte {
	if len(c.edits) == 0 {
		return c.data
	}
	var out []byte
	at := 0
	for _, e := range c.edits {
		out = append(append(out, c.data[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, c.data[at:]...)
}

// replace records an edit of the last bytes that were read.
func (c *checker) replace(n int, text string) {
	end := int(c.dec.InputOffset())
	c.edits = append(c.edits, edit{end - n, end, text})
}

// emptyList reports whether an empty list begins with tok and may stand for an empty object.
func (c *checker) emptyList(tok json.Token) bool {
	return c.loose && tok == json.Delim('[') && !c.dec.More()
}

// asEmptyObject reads the end of an empty list and makes the list an empty object.
func (c *checker) asEmptyObject() error {
	from := bytes.LastIndexByte(c.data[:c.dec.InputOffset()], '[')
	if _, err := c.token(); err != nil {
		return c.broken(err)
	}
	c.replace(int(c.dec.InputOffset())-from, "{}")
	return nil
}

// emptied returns the field that says that a list is sent empty, "" for most lists, of which absence says the same.
func emptied(fd protoreflect.FieldDescriptor) string {
	name, _ := proto.GetExtension(fd.Options(), restpb.E_Emptied).(string)
	return name
}

// asEmptied reads the end of an empty list and sets the field that says so.
func (c *checker) asEmptied(field string) error {
	if err := c.up(); err != nil {
		return err
	}
	c.replace(len("]"), `],"`+field+`":true`)
	return nil
}

// asBool makes a number or a text that stands for true or false what it stands for, and reports whether tok is one.
func (c *checker) asBool(tok json.Token) bool {
	if !c.loose {
		return false
	}
	raw, text := "", ""
	switch v := tok.(type) {
	case json.Number:
		text = v.String()
		raw = text
	case string:
		text, raw = v, `"`+v+`"`
	default:
		return false
	}
	if !bytes.HasSuffix(c.data[:c.dec.InputOffset()], []byte(raw)) {
		return false // written with escapes
	}
	switch {
	case text == "1" || strings.EqualFold(text, "true"):
		c.replace(len(raw), "true")
	case text == "0" || strings.EqualFold(text, "false"):
		c.replace(len(raw), "false")
	default:
		return false
	}
	return true
}
