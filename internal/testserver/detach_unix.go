//go:build unix

package testserver

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C away from the keeper. The keeper has to clean
// up after the process that Ctrl-C ends.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
