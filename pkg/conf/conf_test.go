package conf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipway.dev/pkg/conf"
)

type settings struct {
	Listen   string        `env:"LISTEN"   envDefault:"127.0.0.1:1"`
	Database string        `env:"DATABASE,required"`
	Password string        `env:"PASSWORD,required"`
	Every    time.Duration `env:"EVERY"    envDefault:"5s"`
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("APP_DATABASE", "postgres://x")
	t.Setenv("APP_PASSWORD_FILE", file)
	got, err := conf.Load[settings]("APP")
	if err != nil {
		t.Fatal(err)
	}
	if want := (settings{"127.0.0.1:1", "postgres://x", "secret", 5 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	t.Setenv("APP_PASSWORD", "other")
	if _, err := conf.Load[settings]("APP"); err == nil {
		t.Error("a secret given twice was accepted")
	}
}

func TestLoadNamesAllThatIsWrong(t *testing.T) {
	t.Setenv("APP2_EVERY", "soon")
	_, err := conf.Load[settings]("APP2")
	for _, name := range []string{"DATABASE", "PASSWORD", "Every"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestDefaultsFillWhatHasNoValue(t *testing.T) {
	t.Parallel()
	type inner struct {
		Rows int `env:"ROWS" envDefault:"7"`
	}
	got := struct {
		Listen string        `env:"LISTEN" envDefault:":1"`
		Every  time.Duration `env:"EVERY"  envDefault:"5s"`
		Name   string        `env:"NAME"`
		Lists  inner         `envPrefix:"LISTS_"`
	}{Listen: ":2", Name: "x"}
	if err := conf.Defaults(&got); err != nil {
		t.Fatal(err)
	}
	if got.Listen != ":2" || got.Every != 5*time.Second || got.Name != "x" || got.Lists.Rows != 7 {
		t.Errorf("%+v", got)
	}
}
