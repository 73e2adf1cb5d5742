// Package openapi holds the OpenAPI documents of the dialects, made from the protos.
package openapi

import "embed"

//go:embed *.json
var documents embed.FS

// Of returns the document of a dialect; nil when there is none.
func Of(dialect string) []byte {
	text, err := documents.ReadFile(dialect + ".json")
	if err != nil {
		return nil
	}
	return text
}
