package domain

import (
	"regexp"
	"unicode"
	"unicode/utf8"

	"slipway.dev/pkg/fault"
)

// Profile is what is known of the person behind an account. Nothing depends on it.
type Profile struct {
	FullName, Lang, PhoneNumber string
	// Note is by administrators for administrators.
	Note string
}

const (
	maxFullName = 255 // characters
	maxPhone    = 32
	maxNote     = 1000
)

var (
	langForm  = regexp.MustCompile(`^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$`)
	phoneForm = regexp.MustCompile(`^\+?[0-9 ()./-]+$`)
)

// Check bounds what is stored.
func (p Profile) Check() error {
	switch {
	case p.Lang != "" && !langForm.MatchString(p.Lang):
		return fault.Invalid.With("%q is not a language such as en or pt-BR", clip(p.Lang)).On("lang")
	case p.PhoneNumber != "" && (len(p.PhoneNumber) > maxPhone || !phoneForm.MatchString(p.PhoneNumber)):
		return fault.Invalid.With("%q is not a number such as +49 30 123456", clip(p.PhoneNumber)).On("phone_number")
	case !plain(p.FullName, maxFullName):
		return fault.Invalid.With("at most %d characters on one line", maxFullName).On("full_name")
	case utf8.RuneCountInString(p.Note) > maxNote:
		return fault.Invalid.With("at most %d characters", maxNote).On("note")
	}
	return nil
}

func plain(s string, most int) bool {
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return utf8.RuneCountInString(s) <= most
}

// Edit is what to change of an account. What is nil stays.
type Edit struct {
	Roles                             []string
	Email                             *string
	FullName, Lang, PhoneNumber, Note *string
}

// Describe changes what e says of the person behind a.
func (a *Account) Describe(e Edit) error {
	for _, f := range []struct{ from, to *string }{
		{e.FullName, &a.FullName}, {e.Lang, &a.Lang}, {e.PhoneNumber, &a.PhoneNumber}, {e.Note, &a.Note},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return a.Check()
}

// CheckRoles checks the names of the roles, unless there is only something else to change.
func (e *Edit) CheckRoles() (err error) {
	if len(e.Roles) == 0 && (e.Email != nil || e.FullName != nil || e.Lang != nil || e.PhoneNumber != nil || e.Note != nil) {
		return nil
	}
	e.Roles, err = RoleNames("roles", e.Roles)
	return err
}

// Apply changes a. Whether the roles may be given is checked elsewhere.
func (a *Account) Apply(e Edit) (Ends, error) {
	if err := a.Describe(e); err != nil {
		return EndsNothing, err
	}
	if e.Email != nil {
		email, err := NewEmail(*e.Email)
		if err != nil {
			return EndsNothing, err
		}
		a.Email = email
	}
	if len(e.Roles) == 0 {
		return EndsNothing, nil
	}
	return a.Grant(e.Roles), nil
}
