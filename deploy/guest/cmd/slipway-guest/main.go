// Command slipway-guest sets up the tiny guest at boot: it loads the drivers, applies the NoCloud seed, starts
// sshd and writes to the serial console when the guest can be reached. It never fails: errors are written to
// the console and the boot goes on.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unicode"

	"slipway.dev/deploy/guest/seed"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "commands" {
		runCommands()
		return
	}
	if len(os.Args) == 2 && os.Args[1] == "agent" {
		runAgent()
		return
	}
	loadModules("boot")
	// Started here, not by init: a press of the power button before acpid listens is lost, and a client that reads
	// "ready" may press it.
	must("acpid", exec.Command("/sbin/acpid", "-l", "/dev/null").Run())
	hostKey := makeHostKey() // in the background, because it takes as long as everything else
	s := loadSeed()
	if s.Hostname == "" {
		s.Hostname = "tiny"
	}
	must("lo", setupLoopback())
	applyNames(s)
	setupLinks(s.Links)
	applyFiles(s.Files)
	applyLogin(s)
	must("host key", <-hostKey)
	must("agent", startAgent())
	must("sshd", startSSH(s))
	say("slipway-guest ready %s %s", s.Hostname, firstAddress())
	must("runcmd", startCommands(s.Commands))
}

// must reports err, if there is one, and goes on.
func must(step string, err error) {
	if err != nil {
		say("slipway-guest error: %s: %v", step, err)
	}
}

// say writes one line. Text from the seed must not be able to write a second one, such as a false ready.
func say(format string, args ...any) {
	line := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, fmt.Sprintf(format, args...))
	if len(line) > 300 {
		line = line[:300]
	}
	f, err := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s\n", line)
}

// eventually calls try every few milliseconds until it is true or the time is over.
func eventually(limit time.Duration, try func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if try() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func loadSeed() seed.Seed {
	dev, kind := findSeed()
	if dev == "" {
		say("slipway-guest no seed")
		return seed.Seed{}
	}
	root, err := mountSeed(dev, kind)
	if err != nil {
		must("seed "+dev, err)
		return seed.Seed{}
	}
	defer unmountSeed(root)
	s, errs := seed.Parse(root.FS())
	for _, err := range errs {
		must("seed", err)
	}
	return s
}
