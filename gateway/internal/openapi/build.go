// Package openapi writes the OpenAPI document of the dialect from the descriptors of the protos. The generators that
// come with grpc-gateway know neither the dialect's spelling of fields nor its parameters and errors.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accesspb "slipway.dev/proto/access/v1"

	"slipway.dev/gateway/internal/vmmanager"
	"slipway.dev/gateway/internal/where"
)

//go:generate go run ./gen -root ../../..

type object = map[string]any

// Build writes the document for the services in files. Comments are in it if the descriptors have them.
func Build(files []protoreflect.FileDescriptor) ([]byte, error) {
	b := builder{paths: object{}, schemas: object{}}
	names := map[string]int{}
	for _, r := range vmmanager.RoutesIn(files) {
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
	b.schemas["Error"] = errorSchema()
	doc := object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "Slipway, VMmanager 6 dialect",
			"version":     "1",
			"description": "Every path also answers under /api. Bodies are JSON, whatever Content-Type says. Unknown fields are ignored.",
		},
		"servers":  []object{{"url": "/"}, {"url": "/api"}},
		"tags":     tags(files),
		"security": []object{{"x-xsrf-token": []string{}}, {"bearer": []string{}}, {"ses6": []string{}}},
		"paths":    b.paths,
		"components": object{
			"schemas": b.schemas,
			"responses": object{"Error": object{
				"description": "The call was refused or failed.",
				"content":     jsonContent(object{"$ref": "#/components/schemas/Error"}),
			}},
			"parameters":      parameters(),
			"securitySchemes": securitySchemes(),
		},
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(doc)
	return out.Bytes(), err
}

type builder struct{ paths, schemas object }

func (b *builder) operation(r vmmanager.Route, id string) object {
	status := strconv.Itoa(r.Status())
	op := object{
		"operationId": id,
		"tags":        []string{string(r.RPC.Parent().Name())},
		"responses": object{
			status:    b.answer(r.RPC.Output()),
			"default": object{"$ref": "#/components/responses/Error"},
		},
	}
	describe(op, r.RPC)
	switch a := access(r.RPC); a.GetLevel() {
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
		params = append(params, parameter(fd, "path"))
	}
	if access(r.RPC).GetRepeat() == accesspb.Repeat_REPEAT_ANSWERED {
		params = append(params, object{"$ref": "#/components/parameters/" + onceParameter})
	}
	if r.Lists() {
		for _, name := range []string{
			where.ParamWhere, where.ParamOrder, where.ParamLimit, where.ParamFields, where.ParamCursor, where.ParamExplain, where.ParamCount,
		} {
			params = append(params, object{"$ref": "#/components/parameters/" + name})
		}
	}
	if r.Lists() {
		b.list(op["responses"].(object)[status].(object), r.RPC.Output())
	}
	if r.Body {
		op["requestBody"] = object{"content": jsonContent(b.body(r))}
	} else {
		for fd := range fieldsOf(r.RPC.Input(), r.Params()) {
			if fd.Message() == nil && !fd.IsList() {
				params = append(params, parameter(fd, "query"))
			}
		}
	}
	if len(params) > 0 {
		op["parameters"] = params
	}
	return op
}

func (b *builder) answer(md protoreflect.MessageDescriptor) object {
	if md.FullName() == "google.api.HttpBody" {
		return object{"description": "Text.", "content": object{"text/plain": object{"schema": object{"type": "string"}}}}
	}
	return object{"description": "Done.", "content": jsonContent(b.ref(md))}
}

// list adds to the answer of a list what only some requests get: the cursor of the next page, and the export.
func (b *builder) list(answer object, md protoreflect.MessageDescriptor) {
	schema := b.schemas[string(md.FullName())].(object)
	schema["properties"].(object)["next"] = object{
		"type": []string{"string", "null"}, "description": "Cursor of the next page, null when there is none. Only with cursor=.",
	}
	answer["content"].(object)[vmmanager.Lines] = object{"schema": b.ref(md.Fields().ByName("list").Message())}
	answer["description"] = "Done. With Accept: " + vmmanager.Lines + " all rows, one JSON object a line, as long as it takes."
}

// body is a schema of its own, without what the path says already.
func (b *builder) body(r vmmanager.Route) object {
	props := object{}
	for fd := range fieldsOf(r.RPC.Input(), r.Params()) {
		props[string(fd.Name())] = b.field(fd, true)
	}
	s := object{"type": "object", "properties": props}
	describe(s, r.RPC.Input())
	return s
}

func fieldsOf(md protoreflect.MessageDescriptor, without []string) func(func(protoreflect.FieldDescriptor) bool) {
	return func(yield func(protoreflect.FieldDescriptor) bool) {
		for i := range md.Fields().Len() {
			if fd := md.Fields().Get(i); !slices.Contains(without, string(fd.Name())) && !yield(fd) {
				return
			}
		}
	}
}

// ref names the schema of a message, and makes it the first time.
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
		props[string(fd.Name())] = b.field(fd, false)
		if !fd.HasOptionalKeyword() {
			always = append(always, string(fd.Name()))
		}
	}
	s["properties"] = props
	if len(always) > 0 {
		s["required"] = always // an answer has all of its fields; what is not there is null
	}
	return ref
}

func (b *builder) field(fd protoreflect.FieldDescriptor, request bool) object {
	var s object
	md := fd.Message()
	switch {
	case md == nil:
		s = scalar(fd)
	case md.FullName() == "google.protobuf.Value":
		s = object{"type": []string{"number", "null"}}
	case strings.HasPrefix(string(md.FullName()), "google.protobuf."):
		s = scalar(md.Fields().ByName("value"))
		s["type"] = []string{s["type"].(string), "null"}
	case request:
		props := object{}
		for sub := range fieldsOf(md, nil) {
			props[string(sub.Name())] = b.field(sub, true)
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
	return s
}

func scalar(fd protoreflect.FieldDescriptor) object {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return object{"type": "boolean"}
	case protoreflect.StringKind:
		return object{"type": "string"}
	case protoreflect.DoubleKind, protoreflect.FloatKind:
		return object{"type": "number", "format": "double"}
	case protoreflect.Int32Kind, protoreflect.Uint32Kind:
		return object{"type": "integer", "format": "int32"}
	default:
		panic(fmt.Sprintf("openapi: %s has a kind that the dialect does not have", fd.FullName()))
	}
}

func parameter(fd protoreflect.FieldDescriptor, in string) object {
	p := object{"name": string(fd.Name()), "in": in, "schema": scalar(fd)}
	if in == "path" {
		p["required"] = true
	}
	describe(p, fd)
	return p
}

// describe takes over the comment of the proto: the first sentence of a method is its summary.
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

func access(m protoreflect.MethodDescriptor) *accesspb.Access {
	a, _ := proto.GetExtension(m.Options(), accesspb.E_Access).(*accesspb.Access)
	return a
}

func jsonContent(schema object) object {
	return object{"application/json": object{"schema": schema}}
}
