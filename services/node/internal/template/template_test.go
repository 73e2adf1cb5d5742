package template_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/image"
	"slipway.dev/services/node/internal/template"
)

func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	path, err := image.Lookup("qemu-img", "qemu-utils")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v\n%s", args, err, out)
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestInstall(t *testing.T) {
	t.Parallel()
	dir, root, ctx := t.TempDir(), t.TempDir(), context.Background()
	src := filepath.Join(dir, "a.qcow2")
	qemuImg(t, "create", "-q", "-f", "qcow2", src, "64M")
	s, err := template.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	spec := template.Spec{SHA256: digest(t, src), Format: image.QCOW2}
	if _, err := s.Get(spec.SHA256); !errors.Is(err, hyper.ErrNoTemplate) {
		t.Fatalf("before: %v", err)
	}
	got, err := s.Install(ctx, src, spec)
	if err != nil {
		t.Fatal(err)
	}
	if got.VirtualSize != 64<<20 || got.Format != image.QCOW2 {
		t.Errorf("installed %+v", got)
	}
	if st, err := os.Stat(got.Path); err != nil || st.Mode().Perm() != 0o444 {
		t.Errorf("file: %v %v", st.Mode(), err)
	}
	if again, err := s.Install(ctx, filepath.Join(dir, "a.qcow2"), spec); err != nil || again != got {
		t.Errorf("second install: %+v %v", again, err)
	}
	fresh, err := template.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	list, err := fresh.List()
	if err != nil || len(list) != 1 || list[0] != got {
		t.Errorf("after restart: %+v %v, want %+v", list, err, got)
	}
	if left, _ := filepath.Glob(filepath.Join(root, "templates", "*.partial")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	if err := os.WriteFile(canary, bytes.Repeat([]byte("secret. "), 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	qemuImg(t, "create", "-q", "-f", "qcow2", in("good"), "1M")
	qemuImg(t, "create", "-q", "-f", "qcow2", "-b", canary, "-F", "raw", in("backing"))
	qemuImg(t, "create", "-q", "-f", "qcow2", "-o", "data_file="+in("data.raw")+",data_file_raw=on", in("datafile"), "1M")
	qemuImg(t, "create", "-q", "-f", "qcow2", in("huge"), "8T")
	qemuImg(t, "create", "-q", "-f", "vmdk", in("vmdk"), "1M")
	qemuImg(t, "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", in("flat"), "1M")
	qemuImg(t, "create", "-q", "-f", "vdi", in("vdi"), "1M")
	qemuImg(t, "create", "-q", "-f", "vhdx", in("vhdx"), "8M")
	qemuImg(t, "create", "-q", "-f", "vpc", in("vpc"), "1M")
	qemuImg(t, "create", "-q", "-f", "qed", in("qed"), "1M")
	// qemu-img measures the machine's speed to make one, and gives up on a busy machine.
	if err := os.WriteFile(in("luks"), append([]byte("LUKS\xba\xbe\x00\x01aes"), make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "create", "-q", "-f", "qcow2", in("snapshot"), "1M")
	qemuImg(t, "snapshot", "-c", "s1", in("snapshot"))
	patch := func(name string, at int, b ...byte) {
		t.Helper()
		raw, err := os.ReadFile(in("good"))
		if err != nil {
			t.Fatal(err)
		}
		copy(raw[at:], b)
		if err := os.WriteFile(in(name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	patch("unknown-bit", 72, 0x80)
	patch("corrupt-bit", 79, 0x02)
	patch("version", 7, 9)
	patch("clusters", 23, 60)
	patch("json-backing", 8, binary.BigEndian.AppendUint64(nil, 0x200)...)
	if err := os.WriteFile(in("short"), []byte("QFI\xfb"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("odd"), make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("good"), in("link")); err != nil {
		t.Fatal(err)
	}

	s, err := template.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, format, why string }{
		{"backing", image.QCOW2, "backing file"},
		{"datafile", image.QCOW2, "external data file"},
		{"huge", image.QCOW2, "more than"},
		{"snapshot", image.QCOW2, "snapshots"},
		{"unknown-bit", image.QCOW2, "not known"},
		{"corrupt-bit", image.QCOW2, "corrupt"},
		{"version", image.QCOW2, "version"},
		{"clusters", image.QCOW2, "cluster"},
		{"json-backing", image.QCOW2, "backing file name"},
		{"short", image.QCOW2, "not a qcow2"},
		{"vmdk", image.QCOW2, "not a qcow2"},
		{"good", image.Raw, "looks like qcow"},
		{"vmdk", image.Raw, "looks like VMDK"},
		{"flat", image.Raw, "looks like VMDK"},
		{"vdi", image.Raw, "looks like VDI"},
		{"vhdx", image.Raw, "looks like VHDX"},
		{"vpc", image.Raw, "looks like VHD"},
		{"qed", image.Raw, "looks like QED"},
		{"luks", image.Raw, "looks like LUKS"},
		{"odd", image.Raw, "sectors"},
		{"good", "vmdk", "not one of"},
		{"good", "", "not one of"},
	} {
		_, err := s.Install(context.Background(), in(tt.file), template.Spec{
			SHA256: digest(t, in(tt.file)), Format: tt.format, MaxSizeMiB: 1024,
		})
		if !errors.Is(err, image.ErrRefused) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s as %q: %v, want refused because %q", tt.file, tt.format, err, tt.why)
		}
	}
	good := template.Spec{SHA256: digest(t, in("good")), Format: image.QCOW2}
	if _, err := s.Install(context.Background(), in("link"), good); err == nil {
		t.Error("a symbolic link was followed")
	}
	if _, err := s.Install(context.Background(), in("vpc"), good); !errors.Is(err, image.ErrRefused) {
		t.Errorf("wrong sum: %v", err)
	}
	if _, err := s.Install(context.Background(), in("good"), template.Spec{SHA256: "../../x", Format: image.QCOW2}); !errors.Is(err, hyper.ErrInvalid) {
		t.Errorf("bad name: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("installed %v, %v", list, err)
	}
}

func TestRaw(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(src, bytes.Repeat([]byte{0xeb, 0x63}, 1<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := template.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Install(context.Background(), src, template.Spec{SHA256: digest(t, src), Format: image.Raw})
	if err != nil || got.VirtualSize != 1<<20 || filepath.Ext(got.Path) != ".raw" {
		t.Errorf("%+v %v", got, err)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add([]byte("QFI\xfb\x00\x00\x00\x03"), true)
	f.Fuzz(func(t *testing.T, b []byte, qcow bool) {
		format := image.Raw
		if qcow {
			format = image.QCOW2
		}
		info, err := image.Inspect(bytes.NewReader(b), int64(len(b)), format, 1<<40)
		if err == nil && (info.Backing != "" || info.VirtualSize <= 0 || info.VirtualSize > 1<<40) {
			t.Errorf("accepted %+v", info)
		}
	})
}
