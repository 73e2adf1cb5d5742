//go:build libvirt_dlopen && !e2e

package libvirt_test

const childEnv = "SLIPWAY_LIBVIRT_CHILD"

func runChild(string) int { return 1 }
