//go:build !unix

package testserver

import "os/exec"

func detach(*exec.Cmd) {}
