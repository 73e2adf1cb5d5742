package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"slipway.dev/deploy/guest/seed"
)

const (
	commandList = "/run/slipway-commands.json"
	commandLog  = "/var/log/cloud-init-output.log" // where users of cloud-init look
)

func applyNames(s seed.Seed) {
	must("hostname", syscall.Sethostname([]byte(s.Hostname)))
	must("hostname", os.WriteFile("/etc/hostname", []byte(s.Hostname+"\n"), 0o644))
	hosts := "127.0.0.1 localhost\n::1 localhost\n"
	if !s.KeepHosts {
		hosts += "127.0.1.1 " + strings.TrimSpace(s.FQDN+" "+s.Hostname) + "\n"
	}
	must("hosts", os.WriteFile("/etc/hosts", []byte(hosts), 0o644))
	var resolv strings.Builder
	if len(s.Search) > 0 {
		fmt.Fprintf(&resolv, "search %s\n", strings.Join(s.Search, " "))
	}
	for _, a := range s.DNS {
		fmt.Fprintf(&resolv, "nameserver %s\n", a)
	}
	must("resolv.conf", os.WriteFile("/etc/resolv.conf", []byte(resolv.String()), 0o644))
}

func applyFiles(files []seed.File) {
	for _, f := range files {
		must("write_files", writeFile(f))
	}
}

func writeFile(f seed.File) error {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	how := os.O_TRUNC
	if f.Append {
		how = os.O_APPEND
	}
	out, err := os.OpenFile(f.Path, os.O_CREATE|os.O_WRONLY|how, f.Mode)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Chmod(f.Mode); err != nil { // the file may exist, and there is a umask
		return err
	}
	_, err = out.Write(f.Content)
	return err
}

// applyLogin sets root's password and keys. Without a password root stays locked.
func applyLogin(s seed.Seed) {
	hash, err := s.Password.Hash, error(nil)
	if s.Password.Text != "" {
		hash, err = hashPassword(s.Password.Text)
		must("password", err)
	}
	if hash == "" {
		hash = "!"
	}
	must("shadow", setHash(hash))
	if len(s.Keys) == 0 {
		return
	}
	must("authorized_keys", os.MkdirAll("/root/.ssh", 0o700))
	keys := strings.Join(s.Keys, "\n") + "\n"
	must("authorized_keys", os.WriteFile("/root/.ssh/authorized_keys", []byte(keys), 0o600))
}

// setHash sets root's password by its hash. A login meanwhile sees the old one or the new one.
func setHash(hash string) error {
	if err := os.WriteFile("/etc/shadow+", []byte("root:"+hash+":19700:0:99999:7:::\n"), 0o600); err != nil {
		return err
	}
	return os.Rename("/etc/shadow+", "/etc/shadow")
}

// hashPassword passes the password over a pipe, because an argument could be read in /proc.
func hashPassword(text string) (string, error) {
	cmd := exec.Command("/usr/bin/mkpasswd", "-m", "sha512", "-P", "0")
	cmd.Stdin = strings.NewReader(text + "\n")
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// startCommands leaves runcmd to a process of its own: commands may run without end, and the login prompt waits for this process.
func startCommands(commands [][]string) error {
	if len(commands) == 0 {
		return nil
	}
	list, err := json.Marshal(commands)
	if err != nil {
		return err
	}
	if err := os.WriteFile(commandList, list, 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(commandLog, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", "commands")
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

func runCommands() {
	list, err := os.ReadFile(commandList)
	if err != nil {
		must("runcmd", err)
		return
	}
	must("runcmd", os.Remove(commandList))
	var commands [][]string
	must("runcmd", json.Unmarshal(list, &commands))
	for i, args := range commands {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			must("runcmd", fmt.Errorf("command %d: %w", i+1, err))
		}
	}
}
