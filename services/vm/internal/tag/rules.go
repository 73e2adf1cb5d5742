// Package tag keeps the tags that hosts may have.
package tag

import (
	"regexp"
	"slices"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Max is how many tags one host may have.
const Max = 32

// maxNote is the greatest length of a note.
const maxNote = 1000

// errInUse refuses to delete a tag that hosts have.
var errInUse = fault.New(codes.FailedPrecondition, "TAG_IN_USE", "hosts have the tag")

// nameForm is the form of a tag's name.
var nameForm = regexp.MustCompile(`^[\pL\pN][\pL\pN ._-]{0,62}$`)

// check refuses a tag that cannot be.
func check(name, note string) error {
	if !nameForm.MatchString(name) {
		return fault.Invalid.With("1 to 63 letters, digits, dots, dashes, underscores or spaces, the first a letter or digit").On("name")
	}
	if utf8.RuneCountInString(note) > maxNote || !utf8.ValidString(note) {
		return fault.Invalid.With("at most %d characters", maxNote).On("note")
	}
	return nil
}

// Sorted returns the names of a host's tags in order, each once. It refuses more than a host may have.
func Sorted(names []string) ([]string, error) {
	list := slices.Compact(slices.Sorted(slices.Values(names)))
	if len(list) > Max {
		return nil, fault.Invalid.With("at most %d", Max).On("tags")
	}
	return append([]string{}, list...), nil
}
