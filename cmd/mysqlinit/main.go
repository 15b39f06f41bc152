// The mysqlinit command shows what the driver of that name is for, and tells what
// is wrong with a database.
//
//	mysqlinit race [-workers N] [-keys N] [DSN]
//	mysqlinit check [-json] DSN
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: mysqlinit race [-workers N] [-keys N] [DSN]
       mysqlinit check [-json] DSN

race plays the get-or-create race against a real server, first through the plain
MySQL driver, then through mysqlinit: step by step, then under load, then what
READ COMMITTED costs. It works in a table of its own, which it creates in the
DSN's database and drops. Without a DSN it starts a throwaway server.
Exit code 1: the driver lost a transaction.

check tells what sessions a DSN gives, and what about them and their server
will go wrong: why, and the cure. It only reads.
Exit code 1: there is a warning or an error.

Exit code 2, of both: wrong usage, no server, or no connection.
`

// Exit codes.
const (
	exitOK       = 0
	exitLost     = 1 // race: the driver did not keep its promise
	exitFindings = 1 // check: from warning up
	exitError    = 2 // wrong usage, no server, or no connection
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands run with the arguments behind their names, and return an exit code.
var commands = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) int{
	"race":  raceCommand,
	"check": checkCommand,
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return exitError
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(stdout, usage)
		return exitOK
	}
	command := commands[args[0]]
	if command == nil {
		fmt.Fprint(stderr, usage)
		return exitError
	}
	return command(ctx, args[1:], stdout, stderr)
}

// newFlags returns the flags of a command. parse tells whether to go on, and else
// the exit code.
func newFlags(command string, stderr io.Writer) (flags *flag.FlagSet, parse func(args []string) (code int, ok bool)) {
	flags = flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage, "\n"); flags.PrintDefaults() }
	return flags, func(args []string) (int, bool) {
		switch err := flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return exitOK, false
		case err != nil:
			return exitError, false
		}
		return 0, true
	}
}

func raceCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags, parse := newFlags("race", stderr)
	workers := flags.Int("workers", 16, "`number` of transactions that race for each key")
	keys := flags.Int("keys", 200, "`number` of keys they race for")
	if code, ok := parse(args); !ok {
		return code
	}
	if flags.NArg() > 1 || *workers < 2 || *keys < 1 {
		fmt.Fprintln(stderr, "mysqlinit race: it takes one DSN at most (behind the flags), 2 workers or more and 1 key or more")
		return exitError
	}
	kept, err := race(ctx, newScreen(stdout), flags.Arg(0), *workers, *keys)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mysqlinit race:", clean(err.Error()))
		return exitError
	case !kept:
		return exitLost
	}
	return exitOK
}

func checkCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags, parse := newFlags("check", stderr)
	asJSON := flags.Bool("json", false, "print JSON, as docs/check.md describes it")
	// The flag may also stand behind the DSN.
	if len(args) == 2 && (args[1] == "--json" || args[1] == "-json") {
		args[0], args[1] = args[1], args[0]
	}
	if code, ok := parse(args); !ok {
		return code
	}
	if flags.NArg() != 1 {
		fmt.Fprintln(stderr, "mysqlinit check: it takes one DSN, such as 'user:password@tcp(127.0.0.1:3306)/database'")
		return exitError
	}
	c, err := check(ctx, flags.Arg(0))
	if err == nil {
		if *asJSON {
			err = c.writeJSON(stdout)
		} else {
			err = c.print(newScreen(stdout))
		}
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mysqlinit check:", clean(strings.TrimPrefix(err.Error(), "mysqlinit: ")))
		return exitError
	case c.needsAttention():
		return exitFindings
	}
	return exitOK
}
