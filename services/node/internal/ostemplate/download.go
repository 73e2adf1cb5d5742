package ostemplate

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// ErrDownload is the fault of an image that cannot be fetched or does not match its publisher's checksum.
var ErrDownload = fault.New(codes.FailedPrecondition, "DOWNLOAD_FAILED", "the image could not be downloaded")

// Bounds of a download.
const (
	maxImage     = 32 << 30
	maxChecksums = 1 << 20
	dialTimeout  = 30 * time.Second
)

// Client fetches images over HTTPS only. It follows few redirects, to HTTPS only.
func Client() *http.Client {
	return &http.Client{
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: dialTimeout, TLSHandshakeTimeout: dialTimeout},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Scheme != "https" || len(via) > 5 {
				return fmt.Errorf("redirect to %s refused", r.URL.Scheme)
			}
			return nil
		},
	}
}

// Import downloads an image, checks it against the publisher's list of checksums and installs it. The image is inspected like any
// other: it must not refer to other files.
func (s *Store) Import(ctx context.Context, c *http.Client, o OS, imageURL, checksumsURL string) (OS, error) {
	if have, ok := s.Get(o.Name); ok {
		return have, nil
	}
	u, err := url.Parse(imageURL)
	if err != nil || u.Scheme != "https" {
		return o, fault.Invalid.With("not an https address").On("url")
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
	if o.SHA256, err = fetch(ctx, c, imageURL, want, tmp); err != nil {
		return o, err
	}
	if err := s.Add(ctx, tmp.Name(), o); err != nil {
		return o, err
	}
	return s.installed(filepath.Join(s.dir, o.Name+".json"))
}

// fetch copies the image into w and returns its SHA-256. It fails unless the checksum, SHA-256 or SHA-512 by length, is want.
func fetch(ctx context.Context, c *http.Client, from, want string, w io.Writer) (string, error) {
	body, err := get(ctx, c, from)
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
		return "", ErrDownload.With("the image is larger than %d GiB", maxImage>>30)
	}
	if got := hex.EncodeToString(check.Sum(nil)); got != want {
		return "", ErrDownload.With("the image does not have the checksum that its publisher lists")
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// bsdLine is "SHA256 (file) = hash"; the other form is "hash  file", with a star before the file in binary mode.
var bsdLine = regexp.MustCompile(`^SHA(?:256|512) \((.+)\) = ([0-9a-fA-F]+)$`)

// checksum finds the line of a file in the publisher's list.
func checksum(ctx context.Context, c *http.Client, from, file string) (string, error) {
	body, err := get(ctx, c, from)
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
	return "", ErrDownload.With("the publisher's list has no checksum of %s", file)
}

func get(ctx context.Context, c *http.Client, from string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, fault.Unavailable.With("the image's publisher cannot be reached").Wrap(err)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	case resp.StatusCode >= 500:
		err = fault.Unavailable.With("the image's publisher answered %d", resp.StatusCode)
	default:
		err = ErrDownload.With("the image's publisher answered %d", resp.StatusCode)
	}
	_ = resp.Body.Close()
	return nil, err
}
