// Package conf reads the settings of a service from the environment.
package conf

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Load fills a T from variables that begin with prefix and an underscore. Names and defaults are in T's struct tags
// (`env:"LISTEN" envDefault:"…"`). A secret X may come as X_FILE, the name of a file that holds it. The error names
// every variable that is missing or wrong at once, and no value.
func Load[T any](prefix string) (T, error) { return From[T](env.ToMap(os.Environ()), prefix) }

// From is Load with these variables in place of the environment.
func From[T any](vars map[string]string, prefix string) (T, error) {
	environment, err := withFiles(vars, prefix+"_")
	if err != nil {
		var zero T
		return zero, err
	}
	cfg, err := env.ParseAsWithOptions[T](env.Options{Prefix: prefix + "_", Environment: environment})
	if agg, ok := errors.AsType[env.AggregateError](err); ok {
		texts := make([]string, len(agg.Errors))
		for i, e := range agg.Errors {
			texts[i] = e.Error()
		}
		return cfg, fmt.Errorf("settings: %s", strings.Join(texts, "; "))
	}
	return cfg, err
}

// withFiles adds X for every X_FILE with the prefix, and refuses both at once.
func withFiles(given map[string]string, prefix string) (map[string]string, error) {
	vars := maps.Clone(given)
	for name, path := range given {
		plain, ok := strings.CutSuffix(name, "_FILE")
		if !ok || !strings.HasPrefix(name, prefix) || path == "" {
			continue
		}
		if _, both := given[plain]; both {
			return nil, fmt.Errorf("settings: both %s and %s are set", plain, name)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("settings: %s: %w", name, err)
		}
		vars[plain] = strings.TrimRight(string(text), "\r\n")
	}
	return vars, nil
}
