package testserver

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"path/filepath"
)

//go:embed fetch.sh
var fetchScript string

// Fetch returns the folder of a fetched program, which fetch.sh knows by that
// name, and fetches it where that has not been done. The error says why it is not to be had.
func Fetch(ctx context.Context, name string) (folder string, err error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", fetchScript, "fetch.sh", name)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s (%w)", bytes.TrimSpace(output), err)
	}
	return filepath.Join(cacheFolder(), name), nil
}
