package openapi

import (
	"maps"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/pkg/accept"
	"slipway.dev/pkg/idem"

	"slipway.dev/gateway/internal/rest"
)

// tags returns the services of routes, in their order.
func tags(routes []rest.Route) []object {
	var all []object
	seen := map[protoreflect.FullName]bool{}
	for _, r := range routes {
		s := r.RPC.Parent()
		if seen[s.FullName()] {
			continue
		}
		seen[s.FullName()] = true
		tag := object{"name": string(s.Name())}
		describe(tag, s)
		all = append(all, tag)
	}
	return all
}

const onceParameter = "Idempotency-Key"

func parameters(d rest.Document) object {
	all := object{onceParameter: object{
		"name": onceParameter, "in": "header", "schema": object{"type": "string", "minLength": 1, "maxLength": idem.MaxKey},
		"description": d.Repeat,
	}}
	for _, p := range d.Lists {
		all[p.Name] = object{
			"name": p.Name, "in": "query", "description": p.Description, "example": p.Example, "schema": object{"type": "string"},
		}
	}
	return all
}

func servers(d rest.Document) []object {
	var all []object
	for _, url := range d.Servers {
		all = append(all, object{"url": url})
	}
	return all
}

// security returns the schemes of a dialect, any one of which is sufficient.
func security(d rest.Document) (schemes object, any []object) {
	schemes = object{}
	for _, s := range d.Security {
		schemes[s.Name] = s.Schema
		any = append(any, object{s.Name: []string{}})
	}
	return schemes, any
}

// brief returns a reference to the schema of a message of which some fields show an id alone.
func (b *builder) brief(md protoreflect.MessageDescriptor, names []string) object {
	name := string(md.FullName()) + ".Brief"
	s := maps.Clone(b.schemas[string(md.FullName())].(object))
	props := maps.Clone(s["properties"].(object))
	for _, field := range names {
		props[field] = object{"type": []string{"integer", "null"}, "format": "int32", "description": "The id alone."}
	}
	s["properties"] = props
	b.schemas[name] = s
	return object{"$ref": "#/components/schemas/" + name}
}

// accepted returns which values a request may have in a field that the service does not carry out.
func accepted(fd protoreflect.FieldDescriptor) string {
	o := accept.Of(fd)
	switch {
	case o == nil || o.GetAny():
		return ""
	case len(o.GetValues()) > 0:
		return "Accepted: " + strings.Join(o.GetValues(), ", ") + "."
	case o.GetNoun() != "":
		return "There is no " + o.GetNoun() + " yet: accepted are null, 0 and []."
	default:
		return "Not available: accepted are null, 0, false, \"\", {} and []."
	}
}
