//go:build unix

package testserver

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C from the keeper, which has to clean up
// after the process that it ends.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
