package image_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"slipway.dev/services/node/internal/image"
)

// TestNameBehindTheCluster: a name that does not fit into the first cluster is refused also when it is longer than the cluster
// itself, where a difference without a sign is very large.
func TestNameBehindTheCluster(t *testing.T) {
	t.Parallel()
	h := make([]byte, 8192)
	copy(h, "QFI\xfb")
	binary.BigEndian.PutUint32(h[4:], 2)
	binary.BigEndian.PutUint64(h[8:], 4096) // in the file, behind the cluster
	binary.BigEndian.PutUint32(h[16:], 600) // more than a cluster
	binary.BigEndian.PutUint32(h[20:], 9)   // clusters of 512 bytes
	binary.BigEndian.PutUint64(h[24:], 1<<20)
	_, err := image.Inspect(bytes.NewReader(h), int64(len(h)), image.QCOW2, 1<<30)
	if !errors.Is(err, image.ErrRefused) || err.Error() != "backing file name is out of range" {
		t.Errorf("got %v", err)
	}
}
