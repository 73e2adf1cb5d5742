//go:build !libvirt_dlopen

package libvirt

import (
	"context"
	"strings"
	"testing"
)

func TestStubSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if _, err := Open(context.Background(), Config{}); err == nil || !strings.Contains(err.Error(), "libvirt_dlopen") {
		t.Errorf("%v", err)
	}
}
