package session

import (
	"fmt"
	"sync/atomic"
)

// Phase is what a connection is doing, for errors: one of these constants, or
// the number of an init command, from 1 on.
type Phase int32

const (
	PhaseConnect Phase = -iota
	PhaseSet
	PhaseVerify
	PhaseCommit
)

func (p Phase) String() string {
	switch p {
	case PhaseConnect:
		return "connecting (dial and handshake)"
	case PhaseSet:
		return "setting the session's variables"
	case PhaseVerify:
		return "verifying the session"
	case PhaseCommit:
		return "committing the transaction that init_connect or an init command has left open"
	default:
		return fmt.Sprintf("running init command %d", int32(p))
	}
}

// Failed is the reason that a [Failure] gives if nothing better is known.
func (p Phase) Failed() string { return p.String() + " failed" }

// Progress is the phase that a connection is in. It can be read while another
// goroutine prepares the connection. The zero value is in PhaseConnect.
type Progress struct{ at atomic.Int32 }

func (p *Progress) enter(next Phase) { p.at.Store(int32(next)) }

// Phase returns the current phase.
func (p *Progress) Phase() Phase { return Phase(p.at.Load()) }
