package sshline_test

import (
	"strings"
	"testing"

	"slipway.dev/pkg/sshline"
)

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOt6W6cNdd8jz7uybrGrIlhQ46xn0Q5nTRmkxY5T9AIU"

func TestParse(t *testing.T) {
	t.Parallel()
	for comment, want := range map[string]bool{
		"": true, " me@example.com": true, " Иван Петров": true, "\ttab": true, " two words": true,
		" Ivan\u00a0Petrov": false, " zero\u200bwidth": false, " soft\u00adhyphen": false, " bell\a": false, " \u2028x": false,
		" \xff": false, " a\n" + key: false, " a\x00b": false, " " + strings.Repeat("x", sshline.MaxBytes): false,
	} {
		k, got, err := sshline.Parse(key + comment)
		if (err == nil) != want {
			t.Errorf("%q: %v", comment, err)
			continue
		}
		if err != nil {
			continue
		}
		if got != strings.TrimSpace(comment) || sshline.Format(k, got) != strings.TrimSpace(key+" "+got) {
			t.Errorf("%q: comment %q, line %q", comment, got, sshline.Format(k, got))
		}
	}
	for _, line := range []string{"", "x", `command="id" ` + key, "ssh-ed25519 AAAA"} {
		if _, _, err := sshline.Parse(line); err == nil {
			t.Errorf("%q is accepted", line)
		}
	}
}
