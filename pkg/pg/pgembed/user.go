package pgembed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the server runs as. PostgreSQL refuses to run as root.
type account struct {
	name     string
	uid, gid int
	drop     bool // we are root and must become this user
}

// pick returns the owner of the data if the data exists, else the first unprivileged user.
func pick(data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{name: strconv.Itoa(os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	if st, err := os.Stat(data); err == nil {
		sys := st.Sys().(*syscall.Stat_t)
		if sys.Uid != 0 {
			a := account{uid: int(sys.Uid), gid: int(sys.Gid), drop: true, name: strconv.Itoa(int(sys.Uid))}
			if u, err := user.LookupId(a.name); err == nil {
				a.name = u.Username
			}
			return a, nil
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{name: name, uid: uid, gid: gid, drop: true}, nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")
}

// attr returns the attributes of a child that runs as this account, in its own process group, so that Ctrl-C in a terminal does
// not reach the child before this process. The child gets sig when the thread that started it ends: see onThread.
func (a account) attr(sig syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: sig}
	if a.drop {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)} // #nosec G115 -- the kernel's own, 32 bits
	}
	return attr
}

// own makes the account the owner of a directory, and closes it to others.
func (a account) own(dir string) error {
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	if !a.drop {
		return nil
	}
	return os.Chown(dir, a.uid, a.gid)
}

// checkReach checks that the account can access bin and dir; the error says what to do if not.
func (a account) checkReach(bin, dir string) error {
	cmd := exec.Command(filepath.Join(bin, "postgres"), "--version")
	cmd.Dir = dir
	cmd.SysProcAttr = a.attr(syscall.SIGKILL)
	_, err := output(cmd)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	for _, path := range []string{dir, bin} {
		if closed := a.closedParent(path); closed != "" {
			return fmt.Errorf("PostgreSQL runs as user %s, to whom the directory %s is closed: open it (chmod o+x %s) or "+
				"choose another place than %s", a.name, closed, closed, path)
		}
	}
	return fmt.Errorf("PostgreSQL runs as user %s, who may not use %s or %s: %w", a.name, dir, bin, err)
}

// closedParent returns the topmost parent directory of path that the account may not enter.
func (a account) closedParent(path string) string {
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
