//go:build !linux && !darwin

package main

import "os"

// terminalColumns returns 0: how wide a terminal is is not known here.
func terminalColumns(*os.File) int { return 0 }
