// Package openapi holds the OpenAPI document of the dialect, made from the protos.
package openapi

import _ "embed"

// Slipway is the document.
//
//go:embed slipway.openapi.json
var Slipway []byte
