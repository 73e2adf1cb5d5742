package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestNameservers: behind the stub of systemd-resolved are the name servers that guests can reach.
func TestNameservers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	stub := write("stub", "# resolved\nnameserver 127.0.0.53\noptions edns0\n")
	upstream := write("upstream", "nameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver 2001:db8::53\n")
	plain := write("plain", "nameserver 198.51.100.53\n")
	none := filepath.Join(dir, "none")
	for _, tt := range []struct{ paths, want []string }{
		{[]string{stub, upstream}, []string{"192.0.2.53", "2001:db8::53"}},
		{[]string{none, upstream}, []string{"192.0.2.53", "2001:db8::53"}},
		{[]string{plain, upstream}, []string{"198.51.100.53"}},
		{[]string{stub, none}, publicDNS},
		{[]string{stub, stub}, publicDNS},
	} {
		if got := nameservers(tt.paths...); !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, want %v", tt.paths, got, tt.want)
		}
	}
}
