// Package openapi writes the OpenAPI document of a dialect from the descriptors of the protos. The generators of
// grpc-gateway do not support a dialect's spelling of fields, parameters and errors.
package openapi

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/pkg/access"

	"slipway.dev/gateway/internal/rest"
)

type object = map[string]any

// Build returns the document of a dialect for the services in files. It includes the comments if the descriptors have
// them.
func Build(d rest.Dialect, files []protoreflect.FileDescriptor) ([]byte, error) {
	b := builder{dialect: d, paths: object{}, schemas: object{}}
	routes := rest.Routes(d.Name, files)
	names := map[string]int{}
	for _, r := range routes {
		id := string(r.RPC.Parent().Name()) + "_" + string(r.RPC.Name())
		if names[id]++; names[id] > 1 {
			id += "_" + strconv.Itoa(names[id])
		}
		item, ok := b.paths[r.Path].(object)
		if !ok {
			item = object{}
			b.paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = b.operation(r, id)
	}
	b.schemas["Error"] = d.Document.Error()
	schemes, anyOf := security(d.Document)
	doc := object{
		"openapi":  "3.1.0",
		"info":     object{"title": d.Document.Title, "version": d.Document.Version, "description": d.Document.Description},
		"servers":  servers(d.Document),
		"tags":     tags(routes),
		"security": anyOf,
		"paths":    b.paths,
		"components": object{
			"schemas": b.schemas,
			"responses": object{"Error": object{
				"description": "The call was refused or failed.",
				"content":     jsonContent(object{"$ref": "#/components/schemas/Error"}),
			}},
			"parameters":      parameters(d.Document),
			"securitySchemes": schemes,
		},
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(doc)
	return out.Bytes(), err
}

type builder struct {
	dialect        rest.Dialect
	paths, schemas object
}

func (b *builder) operation(r rest.Route, id string) object {
	status := strconv.Itoa(r.Status())
	op := object{
		"operationId": id,
		"tags":        []string{string(r.RPC.Parent().Name())},
		"responses": object{
			status:    b.answer(r),
			"default": object{"$ref": "#/components/responses/Error"},
		},
	}
	describe(op, r.RPC)
	switch a := access.Of(r.RPC); a.GetLevel() {
	case accesspb.Level_LEVEL_PUBLIC:
		op["security"] = []object{}
	case accesspb.Level_LEVEL_ADMIN:
		op["x-needs"], op["x-scope"] = "administrator", a.GetScope()
	default:
		op["x-scope"] = a.GetScope()
	}
	var params []object
	for _, name := range r.Params() {
		fd := r.RPC.Input().Fields().ByName(protoreflect.Name(name))
		params = append(params, b.parameter(fd, "path"))
	}
	if access.Of(r.RPC).GetRepeat() == accesspb.Repeat_REPEAT_ANSWERED {
		params = append(params, object{"$ref": "#/components/parameters/" + onceParameter})
	}
	if r.Lists() {
		for _, p := range b.dialect.Document.Lists {
			params = append(params, object{"$ref": "#/components/parameters/" + p.Name})
		}
	}
	if r.Lists() {
		b.list(op["responses"].(object)[status].(object), r.RPC.Output())
	}
	if media := r.File(); media != "" {
		op["requestBody"] = object{"required": true, "content": object{media: object{"schema": object{"type": "string", "format": "binary"}}}}
	} else if r.Body {
		op["requestBody"] = object{"content": jsonContent(b.body(r))}
	} else {
		for fd := range fieldsOf(r.RPC.Input(), r.Params()) {
			if fd.Message() == nil && !fd.IsList() {
				params = append(params, b.parameter(fd, "query"))
			}
		}
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	return op
}

func (b *builder) answer(r rest.Route) object {
	md := r.RPC.Output()
	if md.FullName() == "google.api.HttpBody" {
		if media := r.MediaType(); media != "" {
			return object{"description": "Done.", "content": object{media: object{"schema": object{}}}}
		}
		return object{"description": "Text.", "content": object{"text/plain": object{"schema": object{"type": "string"}}}}
	}
	ref := b.ref(md)
	if len(r.Brief()) > 0 {
		ref = b.brief(md, r.Brief())
	}
	return object{"description": "Done.", "content": jsonContent(ref)}
}

// list adds to the answer of a list the parts that depend on the request: the cursor of the next page, and the
// export.
func (b *builder) list(answer object, md protoreflect.MessageDescriptor) {
	schema := b.schemas[string(md.FullName())].(object)
	schema["properties"].(object)["next"] = object{
		"type": []string{"string", "null"}, "description": "Cursor of the next page; null on the last page. Only with cursor=.",
	}
	answer["content"].(object)[rest.Lines] = object{"schema": b.ref(md.Fields().ByName("list").Message())}
	answer["description"] = "Done. With Accept: " + rest.Lines + " all rows, one JSON object per line, without a time limit."
}

// body returns a schema of the body, without the fields that the path holds.
func (b *builder) body(r rest.Route) object {
	props := object{}
	for fd := range fieldsOf(r.RPC.Input(), r.Params()) {
		props[b.dialect.Codec.Name(fd)] = b.field(fd, true)
	}
	s := object{"type": "object", "properties": props}
	describe(s, r.RPC.Input())
	return s
}

func fieldsOf(md protoreflect.MessageDescriptor, without []string) func(func(protoreflect.FieldDescriptor) bool) {
	return func(yield func(protoreflect.FieldDescriptor) bool) {
		for i := range md.Fields().Len() {
			if fd := md.Fields().Get(i); !rest.Hidden(fd) && !slices.Contains(without, string(fd.Name())) && !yield(fd) {
				return
			}
		}
	}
}

// ref returns a reference to the schema of a message and creates the schema if needed.
func (b *builder) ref(md protoreflect.MessageDescriptor) object {
	name := string(md.FullName())
	ref := object{"$ref": "#/components/schemas/" + name}
	if _, ok := b.schemas[name]; ok {
		return ref
	}
	s := object{"type": "object"}
	b.schemas[name] = s
	describe(s, md)
	props := object{}
	var always []string
	for fd := range fieldsOf(md, nil) {
		props[b.dialect.Codec.Name(fd)] = b.field(fd, false)
		if !fd.HasOptionalKeyword() {
			always = append(always, b.dialect.Codec.Name(fd))
		}
	}
	s["properties"] = props
	if len(always) > 0 {
		s["required"] = always // an answer has all of its fields; absent values are null
	}
	return ref
}

func (b *builder) field(fd protoreflect.FieldDescriptor, request bool) object {
	var s object
	md := fd.Message()
	switch {
	case md == nil:
		s = scalar(b.dialect.Codec, fd)
	case fd.IsMap():
		s = object{"type": "object", "additionalProperties": b.field(fd.MapValue(), request)}
	case wellKnown[md.FullName()] != nil:
		s = object{}
		maps.Copy(s, wellKnown[md.FullName()])
	case strings.HasPrefix(string(md.FullName()), "google.protobuf."):
		s = scalar(b.dialect.Codec, md.Fields().ByName("value"))
		s["type"] = []string{s["type"].(string), "null"}
	case request:
		props := object{}
		for sub := range fieldsOf(md, nil) {
			props[b.dialect.Codec.Name(sub)] = b.field(sub, true)
		}
		s = object{"type": "object", "properties": props}
	default:
		s = b.ref(md)
	}
	switch {
	case fd.IsList():
		s = object{"type": "array", "items": s}
	case s["$ref"] != nil:
		s = object{"anyOf": []object{s, {"type": "null"}}}
	case request && fd.HasOptionalKeyword():
		s["type"] = []string{s["type"].(string), "null"}
	}
	describe(s, fd)
	if text := accepted(fd); request && text != "" {
		before, _ := s["description"].(string)
		s["description"] = strings.TrimSpace(before + " " + text)
	}
	return s
}

func scalar(c rest.Codec, fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return object{"type": "number", "format": "double"}
	case protoreflect.BytesKind:
		return object{"type": "string", "contentEncoding": "base64"}
	case protoreflect.EnumKind:
		var names []string
		for i := range fd.Enum().Values().Len() {
			names = append(names, string(fd.Enum().Values().Get(i).Name()))
		}
		return object{"type": "string", "enum": names}
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if c.Text64 {
			return object{"type": "string", "format": "int64"}
		}
		return object{"type": "integer", "format": "int64"}
	default:
		return object{"type": "integer", "format": "int32"}
	}
}

// wellKnown are the schemas of messages that are a single value in JSON.
var wellKnown = map[protoreflect.FullName]object{
	"google.protobuf.Value":     {"type": []string{"number", "null"}},
	"google.protobuf.Timestamp": {"type": []string{"string", "null"}, "format": "date-time"},
	"google.protobuf.Duration":  {"type": []string{"string", "null"}, "format": "duration"},
}

func (b *builder) parameter(fd protoreflect.FieldDescriptor, in string) object {
	p := object{"name": string(fd.Name()), "in": in, "schema": scalar(b.dialect.Codec, fd)}
	if in == "path" {
		p["required"] = true
	}
	describe(p, fd)
	return p
}

// describe copies the comment of the proto. The first sentence of a method becomes its summary.
func describe(o object, d protoreflect.Descriptor) {
	text := strings.Join(strings.Fields(d.ParentFile().SourceLocations().ByDescriptor(d).LeadingComments), " ")
	if text == "" {
		return
	}
	if _, isMethod := d.(protoreflect.MethodDescriptor); isMethod {
		text = strings.TrimPrefix(text, string(d.Name())+" ")
		first, _, _ := strings.Cut(text, ". ")
		text = strings.ToUpper(text[:1]) + text[1:]
		o["summary"] = strings.ToUpper(first[:1]) + strings.TrimSuffix(first[1:], ".")
	}
	o["description"] = text
}

func jsonContent(schema object) object {
	return object{"application/json": object{"schema": schema}}
}
