package conf

import "github.com/caarlos0/env/v11"

// Defaults sets the fields of cfg that have no value to the defaults in their struct tags, for settings that do not come from
// the environment.
func Defaults(cfg any) error {
	return env.ParseWithOptions(cfg, env.Options{Environment: map[string]string{}, SetDefaultsForZeroValuesOnly: true})
}
