package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"slipway.dev/deploy/guest/seed"
)

const hostKeyFile = "/etc/dropbear/dropbear_ed25519_host_key"

func makeHostKey() <-chan error {
	done := make(chan error, 1)
	go func() {
		if _, err := os.Stat(hostKeyFile); err == nil {
			done <- nil
			return
		}
		done <- exec.Command("/usr/bin/dropbearkey", "-t", "ed25519", "-f", hostKeyFile).Run()
	}()
	return done
}

// startSSH runs sshd in a loop that restarts it, and returns when sshd answers.
func startSSH(s seed.Seed) error {
	args := []string{}
	if s.NoPassword {
		args = append(args, "-s")
	}
	if s.NoRoot {
		args = append(args, "-w")
	}
	cmd := exec.Command("/etc/sshd", args...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	answers := func() bool {
		c, err := net.DialTimeout("tcp", "127.0.0.1:22", time.Second)
		if err != nil {
			return false
		}
		return c.Close() == nil
	}
	if !eventually(10*time.Second, answers) {
		return errors.New("does not answer")
	}
	return nil
}
