// Package ispsystem is the dialect of VMmanager 6 and DCImanager 6: their query parameters, their error numbers and
// their credentials. Everything else about the dialect is in the protos and in the kit, package rest.
package ispsystem

import (
	"net/http"
	"net/url"

	"google.golang.org/protobuf/reflect/protoreflect"

	"slipway.dev/gateway/internal/console"
	"slipway.dev/gateway/internal/edge"
	"slipway.dev/gateway/internal/rest"
	"slipway.dev/gateway/internal/upload"
	"slipway.dev/gateway/internal/where"
)

// SessionCookie is the cookie that carries a session in a browser.
const SessionCookie = "ses6"

// StaleCookies are accepted too if SessionCookie is absent.
func StaleCookies() []string { return []string{"x-xsrf-token", "token"} }

// Dialect returns the dialect.
func Dialect() rest.Dialect {
	return rest.Dialect{
		Name:      "ispsystem",
		Prefixes:  []string{"/"},
		Alias:     "/api",
		Fail:      WriteError,
		ReadError: readError,
		Page:      page,
		Parameters: edge.Parameters{
			Several: []string{where.ParamWhere, where.ParamOrder, where.ParamFields}, Raw: []string{where.ParamWhere},
		},
		Codec: rest.Codec{HideError: true, Loose: true},
		Credentials: []edge.Credential{
			{Header: "X-Xsrf-Token"},
			{Header: "Authorization", Bearer: true},
			{Header: "X-Auth-Token"},
			{Header: "Ses6"},
			{Header: "Isp-Session"},
			{Cookie: SessionCookie},
			{Cookie: "x-xsrf-token"},
			{Cookie: "token"},
		},
		Document: document(),
		Raw: func(conns rest.Conns) map[protoreflect.FullName]http.Handler {
			return map[protoreflect.FullName]http.Handler{
				"vm.v3.ConsoleService.OpenConsole": console.New(conns["vm"], WriteError, console.Times{}),
				"vm.v3.UpkeepService.UploadISO":    upload.New(conns["vm"], WriteError, upload.Idle),
			}
		},
	}
}

// page reads the parameters of a list.
func page(v url.Values) (rest.Page, error) {
	q, err := where.Query(v)
	return rest.Page{Query: q, Fields: where.Fields(v), Cursor: v.Has(where.ParamCursor), Explain: where.Explain(v)}, err
}
