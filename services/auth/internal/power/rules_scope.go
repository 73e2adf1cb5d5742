package power

import (
	"slices"

	"slipway.dev/pkg/access"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

const maxScopes = 200 // of one credential

// NewScopes checks the scopes of a credential that i makes, or patterns of them: i must have each. An empty list
// stands for all that i may do, now and later, and is limited as i is.
func (p Powers) NewScopes(i identity.Identity, list []string) ([]string, error) {
	if len(list) == 0 || slices.Equal(list, []string{"*"}) {
		if i.Limited {
			return append([]string{}, i.Only...), nil
		}
		return nil, nil
	}
	if len(list) > maxScopes {
		return nil, fault.Invalid.With("at most %d", maxScopes).On("scopes")
	}
	scopes, strange := access.Expand(list, p.scopes)
	if strange != nil {
		return nil, fault.Invalid.With("there is no scope %q", fault.Clip(strange[0])).On("scopes")
	}
	may := p.ScopesOf(i)
	for _, s := range scopes {
		if !slices.Contains(may, s) {
			return nil, fault.Denied.With("%s is more than you may do", s).On("scopes")
		}
	}
	return scopes, nil
}
