package idem_test

import (
	"strings"
	"testing/fstest"
)

var things = fstest.MapFS{"0001_thing.sql": {Data: []byte(
	"-- +goose Up\nCREATE TABLE thing (id integer GENERATED ALWAYS AS IDENTITY, name text);\n")}}

func contains(text, part string) bool { return strings.Contains(text, part) }
