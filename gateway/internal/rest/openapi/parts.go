package openapi

import (
	"google.golang.org/protobuf/reflect/protoreflect"

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
