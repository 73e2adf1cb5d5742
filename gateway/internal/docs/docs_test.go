package docs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"slipway.dev/proto/all"
	document "slipway.dev/proto/openapi"

	"slipway.dev/gateway/internal/docs"
	"slipway.dev/gateway/internal/ispsystem"
	"slipway.dev/gateway/internal/rest"
	"slipway.dev/gateway/internal/rest/openapi"
)

type object = map[string]any

func parse(t *testing.T, text []byte) object {
	t.Helper()
	var doc object
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestDocumentIsFresh: without its prose it is what the protos say now.
func TestDocumentIsFresh(t *testing.T) {
	t.Parallel()
	now, err := openapi.Build(ispsystem.Dialect(), all.Files())
	if err != nil {
		t.Fatal(err)
	}
	want, got := parse(t, now), parse(t, document.Of("ispsystem"))
	prose(want)
	prose(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the document is old, run the generator:\n%.2000s", diff)
	}
}

func prose(v any) {
	switch v := v.(type) {
	case object:
		for k, sub := range v {
			if _, isText := sub.(string); isText && (k == "description" || k == "summary") {
				delete(v, k)
				continue
			}
			prose(sub)
		}
	case []any:
		for _, sub := range v {
			prose(sub)
		}
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	doc := parse(t, document.Of("ispsystem"))
	if doc["openapi"] != "3.1.0" || doc["info"].(object)["title"] == "" || doc["info"].(object)["version"] == "" {
		t.Error("no head")
	}
	walk(doc, func(o object) {
		if ref, ok := o["$ref"].(string); ok && resolve(doc, ref) == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	ids := map[string]bool{}
	for _, r := range rest.Routes("ispsystem", all.Files()) {
		item, _ := doc["paths"].(object)[r.Path].(object)
		op, _ := item[strings.ToLower(r.Method)].(object)
		if op == nil {
			t.Errorf("%s %s is missing", r.Method, r.Path)
			continue
		}
		if id := op["operationId"].(string); ids[id] {
			t.Errorf("%s is there twice", id)
		} else {
			ids[id] = true
		}
		if op["summary"] == nil {
			t.Errorf("%s %s says nothing", r.Method, r.Path)
		}
		answers := op["responses"].(object)
		if answers[fmt.Sprint(r.Status())] == nil || answers["default"] == nil {
			t.Errorf("%s %s answers %v", r.Method, r.Path, answers)
		}
		have := map[string]bool{}
		for _, p := range list(op["parameters"]) {
			param := p.(object)
			if ref, ok := param["$ref"].(string); ok {
				param = resolve(doc, ref)
			}
			name := param["name"].(string)
			if have[name] {
				t.Errorf("%s %s: %s is there twice", r.Method, r.Path, name)
			}
			have[name] = true
		}
		for _, name := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(r.Path, -1) {
			if !have[name[1]] {
				t.Errorf("%s %s: no parameter %s", r.Method, r.Path, name[1])
			}
		}
		for _, name := range []string{"where", "orderby", "limit"} {
			if have[name] != r.Lists() {
				t.Errorf("%s %s: parameter %s: %v", r.Method, r.Path, name, have[name])
			}
		}
		if (op["requestBody"] != nil) != r.Body {
			t.Errorf("%s %s: body", r.Method, r.Path)
		}
	}
	schemes := doc["components"].(object)["securitySchemes"].(object)
	for _, s := range list(doc["security"]) {
		for name := range s.(object) {
			if schemes[name] == nil {
				t.Errorf("no security scheme %s", name)
			}
		}
	}
	text := fmt.Sprint(doc["components"].(object)["schemas"].(object)["Error"])
	for _, k := range ispsystem.Errors {
		if !strings.Contains(text, fmt.Sprintf("%d (HTTP %d): %s", k.Number, k.HTTP, k.Meaning)) {
			t.Errorf("the error %d is not described", k.Number)
		}
	}
	if strings.Contains(string(document.Of("ispsystem")), "SERVICE") || strings.Contains(string(document.Of("ispsystem")), "Introspect") {
		t.Error("what services say to each other is in it")
	}
}

func walk(v any, visit func(object)) {
	switch v := v.(type) {
	case object:
		visit(v)
		for _, sub := range v {
			walk(sub, visit)
		}
	case []any:
		for _, sub := range v {
			walk(sub, visit)
		}
	}
}

func resolve(doc object, ref string) object {
	at := doc
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at, _ = at[part].(object)
	}
	return at
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func TestPages(t *testing.T) {
	t.Parallel()
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, tt := range []struct {
		hide               bool
		method, path, text string
		code               int
	}{
		{false, "GET", "/openapi.json", `"openapi": "3.1.0"`, 200},
		{false, "GET", "/swagger", "swagger-ui-bundle.js", 200},
		{false, "GET", "/swagger/", "swagger-ui-bundle.js", 200},
		{false, "GET", "/swagger/swagger-ui.css", "", 200},
		{false, "GET", "/swagger/swagger-ui-bundle.js", "", 200},
		{false, "GET", "/swagger/none", "", 404},
		{false, "GET", "/", "", 302},
		{false, "POST", "/openapi.json", "", 418},
		{false, "GET", "/vm/v3/host", "", 418},
		{true, "GET", "/openapi.json", "", 418},
		{true, "GET", "/swagger", "", 418},
		{true, "GET", "/", "", 418},
		{true, "GET", "/healthz", "", 200},
	} {
		w := httptest.NewRecorder()
		docs.Handler(docs.Config{Hide: tt.hide, Documents: map[string][]byte{"/openapi.json": document.Of("ispsystem")}}, next).ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.text) {
			t.Errorf("%s %s: %d %.200s", tt.method, tt.path, w.Code, w.Body)
		}
		if body := w.Body.String(); strings.HasPrefix(tt.path, "/swagger") && strings.Contains(body, `src="http`) {
			t.Errorf("%s loads something from elsewhere", tt.path)
		}
	}
}
