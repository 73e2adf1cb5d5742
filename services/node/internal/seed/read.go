package seed

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/iso9660"
)

// Read returns the documents in an image.
func Read(path string) (Files, error) {
	f, err := os.Open(path)
	if err != nil {
		return Files{}, err
	}
	defer f.Close()
	img, err := iso9660.Read(file.New(f, true), 0, 0, sector)
	if err != nil {
		return Files{}, fmt.Errorf("read image: %w", err)
	}
	var out Files
	for name, to := range map[string]*[]byte{
		"meta-data": &out.MetaData, "user-data": &out.UserData, "network-config": &out.NetworkConfig,
	} {
		if *to, err = fs.ReadFile(img, name); err != nil {
			return Files{}, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return out, nil
}
