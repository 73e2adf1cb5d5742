package child

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Account is the user that a server runs as.
type Account struct {
	name     string
	uid, gid int
	drop     bool // we are root and must become this user
}

// Pick returns this process's user, unless that is root: then the owner of the data if the data exists, else the first of the
// names that is a user without privileges.
func Pick(data string, names ...string) (Account, error) {
	if os.Geteuid() != 0 {
		return Account{name: strconv.Itoa(os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	if st, err := os.Stat(data); err == nil {
		sys := st.Sys().(*syscall.Stat_t)
		if sys.Uid != 0 {
			a := Account{uid: int(sys.Uid), gid: int(sys.Gid), drop: true, name: strconv.Itoa(int(sys.Uid))}
			if u, err := user.LookupId(a.name); err == nil {
				a.name = u.Username
			}
			return a, nil
		}
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return Account{name: name, uid: uid, gid: gid, drop: true}, nil
		}
	}
	return Account{}, fmt.Errorf("there is none of the users %s, and a server must not run as root", strings.Join(names, ", "))
}

// Attr returns the attributes of a child that runs as this account, in its own process group, so that Ctrl-C in a terminal does
// not reach the child before this process. The child gets sig when the thread that started it ends: see OnThread.
func (a Account) Attr(sig syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: sig}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)} // #nosec G115 -- the kernel's own, 32 bits
	}
	return attr
}

// Own makes the account the owner of a directory, and closes it to others.
func (a Account) Own(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	return a.Give(dir)
}

// CheckReach checks that the account can run a program, named by its path, in dir; the error says what to do if not.
func (a Account) CheckReach(program, dir string) error {
	cmd := exec.Command(program, "--version")
	cmd.Dir = dir
	cmd.SysProcAttr = a.Attr(syscall.SIGKILL)
	_, err := Output(cmd)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	for _, path := range []string{dir, filepath.Dir(program)} {
		if closed := a.closedParent(path); closed != "" {
			return fmt.Errorf("%s runs as user %s, to whom the directory %s is closed: open it (chmod o+x %s) or "+
				"choose another place than %s", filepath.Base(program), a.name, closed, closed, path)
		}
	}
	return fmt.Errorf("%s runs as user %s, who may not use it or %s: %w", program, a.name, dir, err)
}

// closedParent returns the topmost parent directory of path that the account may not enter.
func (a Account) closedParent(path string) string {
	if parent := filepath.Dir(path); parent != path {
		if closed := a.closedParent(parent); closed != "" {
			return closed
		}
	}
	st, err := os.Stat(path)
	if err != nil {
		return ""
	}
	sys := st.Sys().(*syscall.Stat_t)
	need := fs.FileMode(0o001)
	switch {
	case int(sys.Uid) == a.uid:
		need = 0o100
	case int(sys.Gid) == a.gid:
		need = 0o010
	}
	if st.IsDir() && st.Mode()&need == 0 {
		return path
	}
	return ""
}

// Give makes the account the owner of a file.
func (a Account) Give(path string) error {
	if !a.drop {
		return nil
	}
	return os.Chown(path, a.uid, a.gid)
}
