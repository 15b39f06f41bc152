// Package proxy stands between clients and a server in tests. The server may change, as
// that behind a load balancer or a floating IP does, and connections may have a fault at
// any byte.
package proxy

import (
	"bytes"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// What happens to a stream at a byte.
type What string

const (
	Cut       What = "cut"        // both directions end
	Reset     What = "reset"      // both directions end, with RST
	Stall     What = "stall"      // nothing more of this direction arrives
	HalfClose What = "half-close" // this direction ends, the other stays open
	Split     What = "split"      // a packet ends here, and the rest comes later
)

// Fault happens to each connection, in one direction, after some bytes or where a text
// comes first.
type Fault struct {
	What
	ToServer bool
	After    int
	Text     string // instead of After, where it is not ""
}

// at returns where in what has come, of which the last chunk has not been passed on, the
// fault is, or -1.
func (f *Fault) at(passed int, chunk []byte) int {
	if f.Text != "" {
		return bytes.Index(chunk, []byte(f.Text))
	}
	if f.After < passed+len(chunk) {
		return f.After - passed
	}
	return -1
}

// Proxy passes on what clients and the server send, up to the fault.
type Proxy struct {
	Addr string

	mu       sync.Mutex
	server   string // where connections from now on lead
	fault    *Fault // of connections from now on
	happens  func()
	accepted int
	open     map[*net.TCPConn]bool // those that clients have
	passed   map[bool]int          // of the last connection, by whether it went to the server
}

// New starts a proxy on loopback that leads to a server, and ends with the test.
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

// Set makes connections from now on have a fault; nil: none. It returns a channel that is
// closed when it first happens.
func (p *Proxy) Set(f *Fault) (happened <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := make(chan struct{})
	p.fault, p.happens, p.accepted = f, sync.OnceFunc(func() { close(first) }), 0
	return first
}

// To leads connections from now on to another server.
func (p *Proxy) To(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// CutAll ends all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client := range p.open {
		_ = client.Close()
	}
}

// Connects returns how many connections have come since Set.
func (p *Proxy) Connects() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Closed tells whether clients close all of their connections within a generous time.
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

// Passed returns how many bytes the last connection has brought, by whether they went to
// the server.
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

// pass passes one direction on until its source ends it, and then closes the connection:
// a client that is gone is gone for the server.
func (l *link) pass(toServer bool, f *Fault) {
	from, to := l.server, l.client
	if toServer {
		from, to = to, from
	}
	defer func() {
		_ = from.Close()
		_ = to.Close()
	}()
	passed, discards := 0, false
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if discards {
			continue
		}
		rest := buffer[:n]
		if f != nil {
			if at := f.at(passed, rest); at >= 0 {
				if _, err := to.Write(rest[:at]); err != nil {
					return
				}
				rest = rest[at:]
				l.happens()
				switch f.What {
				case Reset:
					_ = l.client.SetLinger(0)
					_ = l.server.SetLinger(0)
					return
				case Cut:
					return
				case HalfClose:
					_ = to.CloseWrite()
					discards = true
				case Stall:
					discards = true
				case Split:
					time.Sleep(time.Millisecond)
				}
				f = nil
				if discards {
					continue
				}
			}
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
