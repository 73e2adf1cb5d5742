// Package message reads and writes the parts of requests and answers that several nouns of the ip service share.
package message

import (
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"slipway.dev/pkg/fault"
)

// maxNote is the length of the longest note, in characters.
const maxNote = 4096

// CheckNote refuses a note that is too long.
func CheckNote(s string) error {
	if utf8.RuneCountInString(s) > maxNote {
		return fault.Invalid.With("at most %d characters", maxNote).On("note")
	}
	return nil
}

// List converts rows to messages. Without rows it returns an empty list, never nil, which would become null.
func List[T, M any](rows []T, convert func(T) M) []M {
	list := make([]M, len(rows))
	for i, r := range rows {
		list[i] = convert(r)
	}
	return list
}

// Number converts a number that may be missing; a missing one becomes null.
func Number(n *int32) *wrapperspb.Int32Value {
	if n == nil {
		return nil
	}
	return wrapperspb.Int32(*n)
}
