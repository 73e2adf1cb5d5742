// Package domain holds the rules of networks, ranges and addresses. It touches nothing but its arguments.
package domain

import (
	"strings"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// Faults of this service.
var (
	ErrNoFree = fault.New(codes.ResourceExhausted, "NO_FREE_ADDRESS", "no free address")
	ErrLapsed = fault.New(codes.FailedPrecondition, "RESERVATION_LAPSED", "the reservation has expired")
	ErrTaken  = fault.New(codes.FailedPrecondition, "WISH_TAKEN", "the address is taken")
	ErrNotHis = fault.New(codes.FailedPrecondition, "NOT_THE_OWNER", "the address now has another owner")
	ErrInUse  = fault.New(codes.FailedPrecondition, "IN_USE", "the object is in use")
)

const (
	maxName = 255
	maxNote = 4096
)

// PoolName checks the name of a pool.
func PoolName(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", fault.Invalid.With("a value is required").On("name")
	case len(s) > maxName:
		return "", fault.Invalid.With("at most %d bytes", maxName).On("name")
	}
	return s, nil
}

// CheckNote bounds a note.
func CheckNote(s string) error {
	if len(s) > maxNote {
		return fault.Invalid.With("at most %d bytes", maxNote).On("note")
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
