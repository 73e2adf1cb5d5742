package libvirt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
)

// owner is the user that qemu runs as and that owns the disks.
type owner struct {
	name     string
	uid, gid int
}

var rootOwner = owner{name: "root"}

// findOwner returns the unprivileged user, or root, with a reason, if that user cannot enter the root directory.
func (c *Config) findOwner(ctx context.Context) (o owner, warning string, err error) {
	if os.Geteuid() != 0 {
		return owner{name: strconv.Itoa(os.Geteuid()), uid: os.Geteuid(), gid: os.Getegid()}, "", nil
	}
	u, err := user.Lookup(qemuUser)
	if _, unknown := errors.AsType[user.UnknownUserError](err); unknown && c.MakeUser {
		if err := makeUser(ctx); err != nil {
			return owner{}, "", err
		}
		c.Log.Info("made the system user that qemu runs as", "user", qemuUser)
		u, err = user.Lookup(qemuUser)
	}
	if err != nil {
		return owner{}, "", hyper.ErrNotAllowed.With("the system user %s is missing: install the Debian package "+
			"libvirt-daemon-system, or let the agent make the user", qemuUser).Wrap(err)
	}
	o.name = u.Username
	if o.uid, err = strconv.Atoi(u.Uid); err != nil {
		return owner{}, "", err
	}
	if o.gid, err = strconv.Atoi(u.Gid); err != nil {
		return owner{}, "", err
	}
	if dir := o.blocked(filepath.Dir(c.Root)); dir != "" {
		return rootOwner, fmt.Sprintf("user %s may not pass through %s", o.name, dir), nil
	}
	return o, "", nil
}

// blocked returns the first parent directory of dir that the owner may not enter, or "" if there is none.
func (o owner) blocked(dir string) string {
	for {
		st, err := os.Stat(dir)
		if err != nil {
			return dir
		}
		pass := st.Mode().Perm()&0o001 != 0
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			if int(sys.Uid) == o.uid {
				pass = st.Mode().Perm()&0o100 != 0
			} else if int(sys.Gid) == o.gid {
				pass = st.Mode().Perm()&0o010 != 0
			}
		}
		if !pass {
			return dir
		}
		if dir == "/" {
			return ""
		}
		dir = filepath.Dir(dir)
	}
}

// makeUser makes the user as Debian's package does; 64055 is the id that Debian reserves.
func makeUser(ctx context.Context) error {
	for _, c := range [][]string{
		{"groupadd", "--force", "--gid", "64055", qemuUser},
		{
			"useradd", "--uid", "64055", "--gid", qemuUser, "--home-dir", "/var/lib/libvirt", "--no-create-home",
			"--shell", "/usr/sbin/nologin", "--comment", "Libvirt Qemu", qemuUser,
		},
	} {
		path, err := image.Lookup(c[0], "passwd")
		if err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, path, c[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %.200s", c[0], qemuUser, err, out)
		}
	}
	if _, err := user.LookupGroup("kvm"); err != nil {
		return nil
	}
	path, err := image.Lookup("usermod", "passwd")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, path, "--append", "--groups", "kvm", qemuUser).CombinedOutput(); err != nil {
		return fmt.Errorf("usermod %s: %w: %.200s", qemuUser, err, out)
	}
	return nil
}

// shareKVM lets qemu's user open /dev/kvm, as udev usually does. It is needed even if machines use TCG: libvirt probes qemu with
// more rights than qemu runs with, finds KVM that it then cannot use, and probes again at every call.
func (o owner) shareKVM() error {
	const dev = "/dev/kvm"
	st, err := os.Stat(dev)
	if err != nil || o.uid == 0 || os.Geteuid() != 0 {
		return nil
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok || st.Mode().Perm()&0o006 == 0o006 || (o.member(int(sys.Gid)) && st.Mode().Perm()&0o060 == 0o060) {
		return nil
	}
	gid := o.gid
	if g, err := user.LookupGroup("kvm"); err == nil {
		if n, err := strconv.Atoi(g.Gid); err == nil && o.member(n) {
			gid = n
		}
	}
	return errors.Join(os.Chown(dev, -1, gid), os.Chmod(dev, 0o660))
}

// member reports whether qemu's user is in the group.
func (o owner) member(gid int) bool {
	u, err := user.Lookup(o.name)
	if err != nil {
		return gid == o.gid
	}
	ids, err := u.GroupIds()
	return gid == o.gid || (err == nil && slices.Contains(ids, strconv.Itoa(gid)))
}
