package power

import (
	"strings"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// ActingScopes checks the scopes that a service asks for to act as i. Patterns are refused: a service names what it
// will do.
func (p Powers) ActingScopes(i identity.Identity, list []string) ([]string, error) {
	if len(list) == 0 {
		return nil, fault.Invalid.With("at least one is required").On("scopes")
	}
	for _, s := range list {
		if strings.Contains(s, "*") {
			return nil, fault.Invalid.With("%q is a pattern; name the scopes one by one", fault.Clip(s)).On("scopes")
		}
	}
	return p.NewScopes(i, list)
}
