// Package image keeps the OS templates, the catalogue of images that can be imported, and the imports.
package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// image is an official cloud image that an administrator may import. Its publisher replaces it now and then under the
// same URL and keeps the checksum beside it, so the checksum is read at import and not written here.
type image struct {
	Name         string `json:"name"`
	Title        string `json:"title"`
	URL          string `json:"url"`
	ChecksumsURL string `json:"checksums_url"`
	MinRAM       int32  `json:"min_ram_mib"`
	MinDisk      int32  `json:"min_disk_mib"`
	Group        string `json:"os_group"`
}

// images are those of the catalogue.
var images = []image{
	{
		Name: "debian-12", Title: "Debian 12", Group: "debian", MinRAM: 512, MinDisk: 3072,
		URL:          "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2",
		ChecksumsURL: "https://cloud.debian.org/images/cloud/bookworm/latest/SHA512SUMS",
	},
	{
		Name: "debian-13", Title: "Debian 13", Group: "debian", MinRAM: 512, MinDisk: 3072,
		URL:          "https://cloud.debian.org/images/cloud/trixie/latest/debian-13-generic-amd64.qcow2",
		ChecksumsURL: "https://cloud.debian.org/images/cloud/trixie/latest/SHA512SUMS",
	},
	{
		Name: "ubuntu-22.04", Title: "Ubuntu 22.04", Group: "ubuntu", MinRAM: 1024, MinDisk: 4096,
		URL:          "https://cloud-images.ubuntu.com/jammy/current/jammy-server-cloudimg-amd64.img",
		ChecksumsURL: "https://cloud-images.ubuntu.com/jammy/current/SHA256SUMS",
	},
	{
		Name: "ubuntu-24.04", Title: "Ubuntu 24.04", Group: "ubuntu", MinRAM: 1024, MinDisk: 4096,
		URL:          "https://cloud-images.ubuntu.com/noble/current/noble-server-cloudimg-amd64.img",
		ChecksumsURL: "https://cloud-images.ubuntu.com/noble/current/SHA256SUMS",
	},
	{
		Name: "almalinux-9", Title: "AlmaLinux 9", Group: "almalinux", MinRAM: 1536, MinDisk: 10240,
		URL:          "https://repo.almalinux.org/almalinux/9/cloud/x86_64/images/AlmaLinux-9-GenericCloud-latest.x86_64.qcow2",
		ChecksumsURL: "https://repo.almalinux.org/almalinux/9/cloud/x86_64/images/CHECKSUM",
	},
	{
		Name: "rocky-9", Title: "Rocky Linux 9", Group: "rocky", MinRAM: 1536, MinDisk: 10240,
		URL:          "https://dl.rockylinux.org/pub/rocky/9/images/x86_64/Rocky-9-GenericCloud.latest.x86_64.qcow2",
		ChecksumsURL: "https://dl.rockylinux.org/pub/rocky/9/images/x86_64/Rocky-9-GenericCloud.latest.x86_64.qcow2.CHECKSUM",
	},
}

// Version is an OS as one node has it.
type Version struct {
	Name, SHA256, Group string
	MinRAM, MinDisk     int32
	Title               string
}

// described is a template as its node describes it.
type described interface {
	GetName() string
	GetTitle() string
	GetSha256() string
	GetOsGroup() string
	GetMinRamMib() int32
	GetMinDiskMib() int32
}

// Versions returns the templates that a host can begin as, one of each name, by name. One that a node describes badly
// must not keep the node, or its other templates, out of service.
func Versions[T described](list []T) []Version {
	var out []Version
	for _, t := range list {
		v := Version{t.GetName(), t.GetSha256(), t.GetOsGroup(), max(t.GetMinRamMib(), 1), max(t.GetMinDiskMib(), 1), t.GetTitle()}
		if v.Name != "" && v.SHA256 != "" && !strings.Contains(v.Name+v.SHA256+v.Group+v.Title, "\x00") {
			out = append(out, v)
		}
	}
	slices.SortStableFunc(out, func(a, b Version) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b Version) bool { return a.Name == b.Name })
}

// Digest returns a digest of what a node has, which is never "".
func Digest(list []Version) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", list))
	return hex.EncodeToString(sum[:16])
}
