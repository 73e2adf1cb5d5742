package user

import (
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/auth/internal/account"
)

const (
	maxEmail    = 254 // bytes; RFC 5321
	maxFullName = 255 // characters
	maxPhone    = 32
	maxNote     = 1000
)

var (
	langForm  = regexp.MustCompile(`^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}$`)
	phoneForm = regexp.MustCompile(`^\+?[0-9 ()./-]+$`)
)

// checkProfile bounds what is stored of the person behind an account. Nothing depends on it.
func checkProfile(p account.Account) error {
	switch {
	case p.Lang != "" && !langForm.MatchString(p.Lang):
		return fault.Invalid.With("%q is not a language such as en or pt-BR", fault.Clip(p.Lang)).On("lang")
	case p.PhoneNumber != "" && (len(p.PhoneNumber) > maxPhone || !phoneForm.MatchString(p.PhoneNumber)):
		return fault.Invalid.With("%q is not a number such as +49 30 123456", fault.Clip(p.PhoneNumber)).On("phone_number")
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

// describe changes what is stored of the person behind an account.
func (e *edit) describe(a *account.Account) error {
	for _, f := range []struct{ from, to *string }{
		{e.fullName, &a.FullName}, {e.lang, &a.Lang}, {e.phoneNumber, &a.PhoneNumber}, {e.note, &a.Note},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	return checkProfile(*a)
}

// newEmail checks the e-mail of a new account and folds it. Characters that are not seen would make two accounts look alike.
func newEmail(s string) (string, error) {
	email, err := account.ParseEmail(s)
	if err != nil {
		return "", err
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Name != "" || a.Address != email || len(email) > maxEmail || strings.ContainsAny(email, "\"<> ") ||
		strings.ContainsFunc(email, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", fault.Invalid.With("%q is not an address such as user@example.com", fault.Clip(email)).On("email")
	}
	return email, nil
}
