// Package proxy has a proxy between clients and a server, for tests. A test can change the
// server, like a load balancer or a floating IP does, and can give connections a fault at
// any byte.
package proxy

import (
	"bytes"
	"io"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// What is the kind of a fault: what happens to a stream at a byte.
type What string

const (
	Cut       What = "cut"        // both directions end
	Reset     What = "reset"      // both directions end, with RST
	Stall     What = "stall"      // nothing more arrives in this direction
	HalfClose What = "half-close" // this direction ends, the other stays open
	Split     What = "split"      // a packet ends here, and the rest comes later
)

// Fault happens once to each connection, in one direction.
type Fault struct {
	What
	ToServer bool
	After    int    // so many bytes
	Text     string // if not "", the bytes count from the beginning of this text
}

// at returns the fault's index in a chunk, or -1. The bytes before the chunk have been
// passed on. A nil fault never happens.
func (f *Fault) at(passed int, chunk []byte) int {
	switch {
	case f == nil:
		return -1
	case f.Text != "":
		if at := bytes.Index(chunk, []byte(f.Text)); at >= 0 {
			return min(at+f.After, len(chunk))
		}
		return -1
	case f.After < passed+len(chunk):
		return f.After - passed
	}
	return -1
}

// Proxy passes on what clients and the server send, up to the fault.
type Proxy struct {
	Addr string

	mu       sync.Mutex
	server   string                // for new connections
	fault    *Fault                // for new connections
	happens  func()                // to be called when the fault happens
	accepted int                   // connections since Set
	open     map[*net.TCPConn]bool // the clients' connections
	passed   map[bool]int          // the last connection's bytes; true: to the server
}

// New starts a proxy on loopback that leads to a server. It ends with the test.
func New(t *testing.T, server string) *Proxy {
	t.Helper()
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), server: server, open: map[*net.TCPConn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() { testserver.Serve(listener, func(client net.Conn) { p.serve(client.(*net.TCPConn)) }) })
	t.Cleanup(func() {
		_ = listener.Close()
		p.CutAll()
		serving.Wait()
	})
	return p
}

// Set gives new connections a fault, or with nil none. It returns a channel that is closed
// when the fault first happens.
func (p *Proxy) Set(f *Fault) (happened <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := make(chan struct{})
	p.fault, p.happens, p.accepted = f, sync.OnceFunc(func() { close(first) }), 0
	return first
}

// To leads new connections to another server.
func (p *Proxy) To(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// CutAll ends all open connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client := range p.open {
		_ = client.Close()
	}
}

// Connects returns how many connections have been opened since Set.
func (p *Proxy) Connects() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Closed waits a generous time and reports whether clients have closed all connections.
func (p *Proxy) Closed() bool {
	for range 20000 {
		p.mu.Lock()
		open := len(p.open)
		p.mu.Unlock()
		if open == 0 {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// Passed returns how many bytes the last connection has passed on, to the server (true)
// and to the client (false).
func (p *Proxy) Passed() map[bool]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.passed)
}

func (p *Proxy) serve(client *net.TCPConn) {
	p.mu.Lock()
	f, happens, addr := p.fault, p.happens, p.server
	p.accepted++
	p.passed = map[bool]int{}
	p.open[client] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.open, client)
		p.mu.Unlock()
	}()
	defer func() { _ = client.Close() }()
	upstream, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	server := upstream.(*net.TCPConn)
	defer func() { _ = server.Close() }()
	l := link{Proxy: p, client: client, server: server, happens: happens}
	var both sync.WaitGroup
	for _, toServer := range []bool{true, false} {
		both.Go(func() {
			if f != nil && f.ToServer == toServer {
				l.pass(toServer, f)
			} else {
				l.pass(toServer, nil)
			}
		})
	}
	both.Wait()
}

// link is one connection through the proxy.
type link struct {
	*Proxy
	client, server *net.TCPConn
	happens        func()
}

// pass passes one direction on, with its fault, until the sender ends it. Then it closes
// both sides, so that the server notices if a client is gone.
func (l *link) pass(toServer bool, f *Fault) {
	from, to := l.server, l.client
	if toServer {
		from, to = to, from
	}
	defer func() {
		_ = from.Close()
		_ = to.Close()
	}()
	passed := 0
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		rest := buffer[:n]
		if at := f.at(passed, rest); at >= 0 {
			if _, err := to.Write(rest[:at]); err != nil {
				return
			}
			l.happens()
			switch f.What {
			case Cut:
				return
			case Reset:
				_ = l.client.SetLinger(0)
				_ = l.server.SetLinger(0)
				return
			case HalfClose:
				_ = to.CloseWrite()
				discard(from)
				return
			case Stall:
				discard(from)
				return
			case Split:
				time.Sleep(time.Millisecond)
			}
			f, rest = nil, rest[at:]
		}
		passed += n
		l.mu.Lock()
		l.passed[toServer] = passed
		l.mu.Unlock()
		if _, err := to.Write(rest); err != nil {
			return
		}
	}
}

// discard reads until the sender ends the stream.
func discard(from *net.TCPConn) { _, _ = io.Copy(io.Discard, from) }
