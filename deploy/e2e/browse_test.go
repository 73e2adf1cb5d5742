//go:build e2e && !remote

package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browse looks at the consoles of a machine, whose password is x, in a browser: the display by noVNC, the serial line by xterm.js.
func (s *stack) browse(id int) {
	s.t.Helper()
	p := newPage(s.t)
	near := site(s.t, s)
	p.visit(near)
	call[any](p, "login", s.email, s.password)

	call[any](p, "showLine", id)
	p.reads("login: ")
	if s.hypervisor == "sim" {
		p.simulated(id)
	} else {
		p.real(id, s.data)
	}
	p.origins(near, id)
}

// simulated: a machine of sim repeats what is typed on its line, and shows on its display which keys were pressed.
func (p *page) simulated(id int) {
	p.t.Helper()
	p.keys("typed\r")
	p.reads("login: typed\n")

	call[any](p, "showScreen", id)
	if blank := call[picture](p, "picture"); blank.Width != 320 || blank.Height != 200 {
		p.t.Errorf("the display: %+v", blank)
	}
	p.keys("x")
	p.until("page.picture().then((p) => p.colours === 2)")
}

// real: one logs in to a guest on the serial line. What is then typed on the display comes to that line, and the display shows what
// QEMU shows to a viewer that does not come by Slipway.
func (p *page) real(id int, data string) {
	p.t.Helper()
	p.keys("root\r")
	p.reads("Password: ")
	p.keys("x\r")
	p.reads("root@screen:~#")
	p.until("page.reports() > 0") // the shell asks where the cursor is; without an echo it does not do that again
	p.keys("stty -echo; echo $((6*7)) apples\r")
	p.reads("42 apples")

	call[any](p, "showScreen", id)
	p.until("page.picture().then((p) => p.colours > 1)")
	call[any](p, "focusLine")
	// A blank terminal that no login reads from, without a cursor that blinks.
	p.keys(`exec 3</dev/tty2; chvt 2; printf '\033[?25l' >/dev/tty2; echo listening $((7*8)); read heard <&3; echo "heard: $heard"` + "\r")
	p.reads("listening 56")
	p.until("page.picture().then((p) => p.colours === 1)")
	call[any](p, "focusScreen")
	p.types("Hi noVNC!")
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		is, shown := qemu(p.t, data).picture(), call[picture](p, "picture")
		if is == shown && is.Colours > 1 {
			break
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("noVNC shows %+v, QEMU has %+v", shown, is)
		}
	}
	p.keys("\r")
	p.reads("heard: Hi noVNC!")
}

// origins: a page of another origin opens no console, although the browser sends it the same cookie, and the ticket is valid.
func (p *page) origins(near string, id int) {
	p.t.Helper()
	url := "ws" + strings.TrimPrefix(near, "http") + "/vm/v3/console"
	one, two := call[string](p, "ticket", id, "serial"), call[string](p, "ticket", id, "serial")
	if !call[bool](p, "opens", url, one) {
		p.t.Error("a page of the stack's origin opens no console")
	}
	p.visit(site(p.t, nil))
	if call[bool](p, "opens", url, two) {
		p.t.Error("a page of another origin opens a console")
	}
}

// qemu is a viewer of the display of the machine of a stack, at QEMU's own socket.
func qemu(t *testing.T, data string) rfb {
	t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f) // it may have ended
		socket := regexp.MustCompile(`\x00-vnc\x00(?:vnc=)?unix:([^\x00,]+)`).FindSubmatch(text)
		if socket == nil || !strings.Contains(string(text), data) {
			continue
		}
		var d net.Dialer
		conn, err := d.DialContext(within(t), "unix", string(socket[1]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return rfb{t, conn}
	}
	t.Fatal("no machine has a display")
	return rfb{}
}
