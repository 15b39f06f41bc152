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

// Fetch returns the folder of a fetched program. The name is one that fetch.sh
// knows. The program is fetched unless it was fetched before. The error says why
// it cannot be fetched.
func Fetch(ctx context.Context, name string) (folder string, err error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", fetchScript, "fetch.sh", name)
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s (%w)", bytes.TrimSpace(output), err)
	}
	return filepath.Join(cacheFolder(), name), nil
}
