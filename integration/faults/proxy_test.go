package faults

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// what happens to a stream at a byte.
type what string

const (
	cut       what = "cut"        // both directions end
	reset     what = "reset"      // both directions end, with RST
	stall     what = "stall"      // nothing more of this direction arrives
	halfClose what = "half-close" // this direction ends, the other stays open
	split     what = "split"      // a packet ends here, and the rest comes later
)

// fault happens to each connection, in one direction, after some bytes or where a text
// comes first.
type fault struct {
	what
	toServer bool
	after    int
	text     string // instead of after, where it is not ""
}

// at returns where in what has come, of which the last chunk has not been passed on, the
// fault is, or -1.
func (f *fault) at(passed int, chunk []byte) int {
	if f.text != "" {
		return bytes.Index(chunk, []byte(f.text))
	}
	if f.after < passed+len(chunk) {
		return f.after - passed
	}
	return -1
}

// proxy passes on what client and server send, up to the fault. toxiproxy, which
// TestDrip uses, counts no bytes for a reset, a stall or half a close.
type proxy struct {
	addr string

	mu       sync.Mutex
	server   string // where connections from now on lead
	fault    *fault // of connections from now on
	happens  func()
	accepted int
	open     map[*net.TCPConn]bool // those that clients have
	passed   map[bool]int          // of the last connection, by whether it went to the server
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := testserver.Listen()
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: listener.Addr().String(), server: server, open: map[*net.TCPConn]bool{}}
	var serving sync.WaitGroup
	serving.Go(func() { testserver.Serve(listener, func(client net.Conn) { p.serve(client.(*net.TCPConn)) }) })
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return p
}

// set makes connections from now on have a fault; nil: none. It returns a channel that is
// closed when it first happens.
func (p *proxy) set(f *fault) (happened <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := make(chan struct{})
	p.fault, p.happens, p.accepted = f, sync.OnceFunc(func() { close(first) }), 0
	return first
}

// to leads connections from now on to another server.
func (p *proxy) to(server string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// cutAll ends all connections.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for client := range p.open {
		_ = client.Close()
	}
}

// connects returns how many connections have come since set.
func (p *proxy) connects() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// closed tells whether clients close all of their connections within a generous time.
func (p *proxy) closed() bool {
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

func (p *proxy) serve(client *net.TCPConn) {
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
	l := link{proxy: p, client: client, server: server, happens: happens}
	var both sync.WaitGroup
	for _, toServer := range []bool{true, false} {
		both.Go(func() {
			if f != nil && f.toServer == toServer {
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
	*proxy
	client, server *net.TCPConn
	happens        func()
}

// pass passes one direction on until its source ends it, and then closes the connection:
// a client that is gone is gone for the server.
func (l *link) pass(toServer bool, f *fault) {
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
				switch f.what {
				case reset:
					_ = l.client.SetLinger(0)
					_ = l.server.SetLinger(0)
					return
				case cut:
					return
				case halfClose:
					_ = to.CloseWrite()
					discards = true
				case stall:
					discards = true
				case split:
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
