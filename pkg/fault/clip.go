package fault

import "strings"

const clipped = 60 // bytes

// Clip shortens text that a client sent, so that a message may quote it.
func Clip(s string) string {
	if len(s) > clipped {
		return strings.ToValidUTF8(s[:clipped], "") + "…"
	}
	return s
}
