package pgembed

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// EnvBin names the directory of initdb and postgres; without it the usual directories are searched.
const EnvBin = "SLIPWAY_POSTGRES_BIN"

// ErrNotInstalled is the error of a machine without PostgreSQL.
var ErrNotInstalled = errors.New("PostgreSQL is not installed: initdb and postgres are neither in PATH nor in " +
	"/usr/lib/postgresql; install it (Debian: apt-get install postgresql) or set " + EnvBin)

// binaries returns the directory of the programs for a data directory of this major version ("" for a new one).
func binaries(major string) (string, error) {
	all := candidates()
	if len(all) == 0 {
		return "", ErrNotInstalled
	}
	if major == "" {
		return all[0], nil
	}
	var seen []string
	for _, dir := range all {
		v := version(dir)
		if v == major {
			return dir, nil
		}
		seen = append(seen, v)
	}
	return "", fmt.Errorf("the data is of PostgreSQL %s, installed is %s: install that version, or move the data with "+
		"pg_dump", major, strings.Join(seen, ", "))
}

func candidates() []string {
	var dirs []string
	if dir := os.Getenv(EnvBin); dir != "" {
		dirs = append(dirs, dir)
	} else {
		if p, err := exec.LookPath("postgres"); err == nil {
			dirs = append(dirs, filepath.Dir(p))
		}
		found, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is good
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(dirVersion(b), dirVersion(a)) })
		dirs = append(dirs, found...)
	}
	return slices.DeleteFunc(dirs, func(dir string) bool {
		return !isProgram(filepath.Join(dir, "postgres")) || !isProgram(filepath.Join(dir, "initdb"))
	})
}

// dirVersion returns the version in the path: 17 for /usr/lib/postgresql/17/bin.
func dirVersion(bin string) float64 {
	v, _ := strconv.ParseFloat(filepath.Base(filepath.Dir(bin)), 64)
	return v
}

func isProgram(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// version returns the major version of the programs in dir, or "" if it is unknown.
func version(dir string) string {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	for word := range strings.FieldsSeq(string(out)) { // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
		if word[0] >= '0' && word[0] <= '9' {
			major, _, _ := strings.Cut(word, ".")
			return strings.TrimRight(major, "abcdeltrv")
		}
	}
	return ""
}
