package wire

import (
	"strings"
	"testing"
)

// TestCheck: what stops a client with fixed types is found, whatever the place.
func TestCheck(t *testing.T) {
	t.Parallel()
	table, err := parse(`
# a comment
Disk = {id:int, name}
GET /host/{id} = {id:int, size:num, on:bool, disk:Disk, list:[Disk], task?:int, tags:[string],
  more?:{a}}
GET /host/all = {list:[int]}
GET /console = text
`)
	if err != nil {
		t.Fatal(err)
	}
	good := `{"id":1,"size":1.5,"on":true,"disk":{"id":1,"name":""},"list":[{"id":2,"name":"x"}],"task":null,"tags":[],"more":{"a":""}}`
	for _, tt := range []struct{ old, now, wrong string }{
		{"", "", ""},
		{`"task":null`, `"task":7`, ""},
		{`"more":{"a":""}`, `"more":null`, ""},
		{`"size":1.5`, `"size":1`, ""},
		{`"list":[{"id":2,"name":"x"}]`, `"list":[]`, ""},
		{`"id":1,"size"`, `"size"`, ".id is absent"},
		{`"id":1,"size"`, `"id":"1","size"`, "id is text, want a whole number"},
		{`"id":1,"size"`, `"id":null,"size"`, "id is null, want a whole number"},
		{`"id":1,"size"`, `"id":1.5,"size"`, "id is the number 1.5, want a whole number"},
		{`"id":1,"size"`, `"id":1e2,"size"`, "id is the number 1e2, want a whole number"},
		{`"on":true`, `"on":1`, "on is the number 1, want true or false"},
		{`"disk":{"id":1,"name":""}`, `"disk":null`, "disk is null, want an object (Disk)"},
		{`"disk":{"id":1,"name":""}`, `"disk":1`, "disk is the number 1, want an object (Disk)"},
		{`"disk":{"id":1,"name":""}`, `"disk":{"id":1}`, "disk.name is absent"},
		{`"list":[{"id":2,"name":"x"}]`, `"list":null`, "list is null, want a list"},
		{`{"id":2,"name":"x"}`, `{"id":2,"name":5}`, "list[0].name is the number 5, want text"},
		{`"tags":[]`, `"tags":{}`, "tags is an object, want a list"},
		{`"tags":[]`, `"tags":[],"new":1`, ".new is not in the table"},
		{`"more":{"a":""}`, `"more":{}`, "more.a is absent"},
	} {
		err := table.Check("GET", "/api/host/7?x=1", []byte(strings.Replace(good, tt.old, tt.now, 1)))
		if tt.wrong == "" && err != nil || tt.wrong != "" && (err == nil || err.Error() != "GET /host/{id}: "+tt.wrong) {
			t.Errorf("%s: %v, want %q", tt.now, err, tt.wrong)
		}
	}
	if err := table.Check("GET", "/host/all", []byte(`{"list":[1]}`)); err != nil {
		t.Error(err)
	}
	if err := table.Check("GET", "/console", []byte("login:")); err != nil {
		t.Error(err)
	}
	if table.Check("POST", "/host/7", []byte(good)) == nil || table.Check("GET", "/host/7", []byte(`[`)) == nil {
		t.Error("an unknown route or a text that is no JSON is accepted")
	}
}

// TestParseRefuses: a mistake in the table is found when the table is read.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"GET /a", "GET /a = {id:int", "GET /a = {id:}", "GET /a = [int", "GET /a = Host", "A = {b:B}", "GET /a = int int", "A = {b, b}"} {
		if _, err := parse(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}
