package ostemplate

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"slipway.dev/pkg/fetch"
)

// Bounds of a download.
const (
	maxImage     = 32 << 30
	maxChecksums = 1 << 20
)

// Import downloads an image, checks it against the publisher's list of checksums and installs it. The image is inspected like any
// other: it must not refer to other files.
func (s *Store) Import(ctx context.Context, c *fetch.Client, o OS, imageURL, checksumsURL string) (OS, error) {
	if have, ok := s.Get(o.Name); ok {
		return have, nil
	}
	if err := fetch.Check(imageURL, false); err != nil {
		return o, err
	}
	u, err := url.Parse(imageURL)
	if err != nil {
		return o, err
	}
	want, err := checksum(ctx, c, checksumsURL, path.Base(u.Path))
	if err != nil {
		return o, err
	}
	tmp, err := os.CreateTemp(s.dir, "*.download")
	if err != nil {
		return o, err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if o.SHA256, err = download(ctx, c, imageURL, want, tmp); err != nil {
		return o, err
	}
	if err := s.Add(ctx, tmp.Name(), o); err != nil {
		return o, err
	}
	return s.installed(filepath.Join(s.dir, o.Name+".json"))
}

// download copies the image into w and returns its SHA-256. It fails unless the checksum, SHA-256 or SHA-512 by length, is want.
func download(ctx context.Context, c *fetch.Client, from, want string, w io.Writer) (string, error) {
	body, err := c.Open(ctx, from)
	if err != nil {
		return "", err
	}
	defer body.Close()
	sum, long := sha256.New(), sha512.New()
	check := sum
	if len(want) == hex.EncodedLen(sha512.Size) {
		check = long
	}
	n, err := io.Copy(io.MultiWriter(w, sum, long), io.LimitReader(body, maxImage+1))
	if err != nil {
		return "", fmt.Errorf("download image: %w", err)
	}
	if n > maxImage {
		return "", fetch.ErrFailed.With("the image is larger than %d GiB", maxImage>>30)
	}
	if got := hex.EncodeToString(check.Sum(nil)); got != want {
		return "", fetch.ErrFailed.With("the image does not have the checksum that its publisher lists")
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// bsdLine is "SHA256 (file) = hash"; the other form is "hash  file", with a star before the file in binary mode.
var bsdLine = regexp.MustCompile(`^SHA(?:256|512) \((.+)\) = ([0-9a-fA-F]+)$`)

// checksum finds the line of a file in the publisher's list.
func checksum(ctx context.Context, c *fetch.Client, from, file string) (string, error) {
	body, err := c.Open(ctx, from)
	if err != nil {
		return "", err
	}
	defer body.Close()
	lines := bufio.NewScanner(io.LimitReader(body, maxChecksums))
	for lines.Scan() {
		name, sum := "", ""
		if m := bsdLine.FindStringSubmatch(strings.TrimSpace(lines.Text())); m != nil {
			name, sum = m[1], m[2]
		} else if f := strings.Fields(lines.Text()); len(f) == 2 {
			name, sum = strings.TrimPrefix(f[1], "*"), f[0]
		}
		if _, err := hex.DecodeString(sum); name == file && err == nil && (len(sum) == 64 || len(sum) == 128) {
			return strings.ToLower(sum), nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("download checksums: %w", err)
	}
	return "", fetch.ErrFailed.With("the publisher's list has no checksum of %s", file)
}
