// Package scripted is a server for tests that need answers that no real server
// sends. It speaks just enough of the MySQL protocol to bring a client to some
// point, and sends arbitrary bytes there.
package scripted

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mysqlinit/mysqlinit/internal/testserver"
)

// Script is what a server sends. With the zero Script the server accepts every
// login and answers OK to every statement.
type Script struct {
	Greeting []byte // nil: Greeting(10, "8.0.0-scripted")
	Auth     []byte // the answer to the client's login; nil: OK(2)
	// Answer answers a statement, the number-th of its connection, counted from 1. If it
	// returns false, the connection is closed. nil: OK(1).
	Answer  func(client net.Conn, statement string, number int) bool
	Prepare []byte // the answer to each PREPARE; nil: error 1047
}

// Server is a server that plays a Script.
type Server struct {
	Addr   string
	script Script
	open   atomic.Int32
}

// Start starts a server that ends with the test.
func Start(tb testing.TB, script Script) *Server {
	tb.Helper()
	listener, err := testserver.Listen()
	if err != nil {
		tb.Fatal(err)
	}
	if script.Greeting == nil {
		script.Greeting = Greeting(10, "8.0.0-scripted")
	}
	if script.Auth == nil {
		script.Auth = OK(2)
	}
	if script.Answer == nil {
		script.Answer = func(client net.Conn, _ string, _ int) bool { return Send(client, OK(1)) }
	}
	if script.Prepare == nil {
		script.Prepare = notInTheScript
	}
	s := &Server{Addr: listener.Addr().String(), script: script}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	tb.Cleanup(func() {
		_ = listener.Close()
		cancel()
		serving.Wait()
	})
	serving.Go(func() {
		testserver.Serve(listener, func(client net.Conn) {
			defer context.AfterFunc(ctx, func() { _ = client.Close() })()
			s.serve(client)
		})
	})
	return s
}

// DSN returns a DSN of the server, with the password hunter2.
func (s *Server) DSN(params string) string { return "app:hunter2@tcp(" + s.Addr + ")/?" + params }

// Open returns the number of connections that neither side has closed.
func (s *Server) Open() int { return int(s.open.Load()) }

// Commands of the protocol.
const (
	comQuit      = 0x01
	comQuery     = 0x03
	comPing      = 0x0e
	comPrepare   = 0x16
	comStmtClose = 0x19
)

func (s *Server) serve(conn net.Conn) {
	s.open.Add(1)
	defer s.open.Add(-1)
	defer func() { _ = conn.Close() }()
	if !Send(conn, s.script.Greeting) {
		return
	}
	if _, err := ReadPacket(conn); err != nil || !Send(conn, s.script.Auth) {
		return
	}
	for number := 0; ; {
		command, err := ReadPacket(conn)
		if err != nil || len(command) == 0 {
			return
		}
		switch command[0] {
		case comQuit:
			return
		case comPing:
			if !Send(conn, OK(1)) {
				return
			}
		case comQuery:
			number++
			if !s.script.Answer(conn, string(command[1:]), number) {
				return
			}
		case comPrepare:
			if !Send(conn, s.script.Prepare) {
				return
			}
		case comStmtClose: // servers do not answer it
		default:
			if !Send(conn, notInTheScript) {
				return
			}
		}
	}
}

var notInTheScript = Error(1, 1047, "not in the script")

// Send writes bytes, and reports whether that succeeded.
func Send(w io.Writer, data []byte) bool {
	_, err := w.Write(data)
	return err == nil
}

// ReadPacket returns the payload of the next packet.
func ReadPacket(r io.Reader) ([]byte, error) {
	var header [4]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	header[3] = 0
	payload := make([]byte, binary.LittleEndian.Uint32(header[:]))
	_, err := io.ReadFull(r, payload)
	return payload, err
}

const longest = 1<<24 - 1 // bytes of payload in one packet; the rest is in the next

// Packet makes a packet of a payload, and several if the payload is too long for one.
func Packet(sequence byte, payload string) (packets []byte) {
	for {
		part := payload[:min(len(payload), longest)]
		payload = payload[len(part):]
		packets = append(packets, byte(len(part)), byte(len(part)>>8), byte(len(part)>>16), sequence)
		packets = append(packets, part...)
		if len(part) < longest {
			return packets
		}
		sequence++
	}
}

// Flags of the status in a server's OK.
const (
	autocommit        = 2
	moreResultsExists = 8
)

// OK returns an OK packet.
func OK(sequence byte) []byte { return Packet(sequence, "\x00\x00\x00\x02\x00\x00\x00") }

// MoreToCome returns an OK packet that announces another result.
func MoreToCome(sequence byte) []byte {
	return Packet(sequence, string([]byte{0, 0, 0, autocommit | moreResultsExists, 0, 0, 0}))
}

// Error returns an error packet.
func Error(sequence byte, number uint16, message string) []byte {
	return Packet(sequence, string([]byte{0xff, byte(number), byte(number >> 8)})+"#HY000"+message)
}

// Greeting returns the packet that a server sends first.
func Greeting(protocol byte, version string) []byte {
	const (
		capabilities = 1 | 1<<3 | 1<<7 | 1<<9 | 1<<13 | 1<<15 // long password, a database at login, LOCAL INFILE, protocol 4.1, transactions, 20 bytes of salt
		more         = 1 | 1<<1 | 1<<3 | 1<<8                 // several statements, several results, plugins, no EOF packets
	)
	return Packet(0, string([]byte{protocol})+version+"\x00"+
		"\x01\x00\x00\x00"+"saltsalt\x00"+string([]byte{capabilities & 0xff, capabilities >> 8})+
		"\x2d\x02\x00"+string([]byte{more & 0xff, more >> 8})+"\x15"+"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+
		"saltsaltsalt\x00"+"mysql_native_password\x00")
}

// Head returns the packets that begin a result set with columns of text.
func Head(sequence byte, columns ...string) []byte {
	head := Packet(sequence, string([]byte{byte(len(columns))}))
	for i, name := range columns {
		head = append(head, Packet(sequence+1+byte(i), text("def")+text("")+text("")+text("")+text(name)+text(name)+
			"\x0c\x2d\x00\x00\x01\x00\x00\xfd\x00\x00\x00\x00\x00")...)
	}
	return head
}

// Row returns a row of a result set.
func Row(sequence byte, values ...string) []byte {
	var payload string
	for _, value := range values {
		payload += text(value)
	}
	return Packet(sequence, payload)
}

// End returns the packet that ends a result set.
func End(sequence byte) []byte { return Packet(sequence, "\xfe\x00\x00\x02\x00\x00\x00") }

// ResultSet returns a result set of one row.
func ResultSet(columns, row []string) []byte {
	n := byte(len(columns))
	set := append(Head(1, columns...), Row(n+2, row...)...)
	return append(set, End(n+3)...)
}

// text returns a length-encoded string.
func text(value string) string {
	n := len(value)
	switch {
	case n <= 250:
		return string([]byte{byte(n)}) + value
	case n < 1<<16:
		return string([]byte{0xfc, byte(n), byte(n >> 8)}) + value
	}
	return string([]byte{0xfd, byte(n), byte(n >> 8), byte(n >> 16)}) + value
}
