// The mysqlinit command shows what the driver mysqlinit is for, and what is wrong
// with a database.
//
//	mysqlinit check [flags] [DSN]
//	mysqlinit race [flags] [DSN]
//	mysqlinit version
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

	"github.com/go-sql-driver/mysql"

	"github.com/mysqlinit/mysqlinit/inspect"
)

const usage = `usage: mysqlinit check [flags] [DSN]
       mysqlinit race [flags] [DSN]
       mysqlinit version

check shows the sessions that a DSN gives, what will go wrong with them and with
their server, why, and the cure. It only reads.
Exit code 1: there is a warning or an error (see -fail-on and -ignore).

race plays the get-or-create race against a real server, first through the plain
MySQL driver, then through mysqlinit: step by step, then under load. It shows
what READ COMMITTED costs. Last it shows a transaction of which one half is lost
and the other committed, and how the guard prevents that. It creates a table in
the DSN's database, works in it, and drops it. Without a DSN it starts a
throwaway server. It refuses a server that is read-only or a replica (-force).
Exit code 1: the driver lost a transaction, or committed one half.

Exit code 2, from both: wrong usage, no server, or no connection.

Example of a DSN:
  'user:password@tcp(127.0.0.1:3306)/app?isolation=server'
As an argument it is seen, with the password, by everyone who can list the
processes of your machine. These are not:
  -                    reads the DSN from standard input
  -dsn-file FILE       reads it from a file
  -defaults-file FILE  makes it of the group [client] of an option file, such as
                       ~/.my.cnf: user, password, host, port, socket, protocol,
                       database, and those for TLS; it ignores others. An
                       argument such as '/app?isolation=server' adds a database
                       and keys
  MYSQLINIT_DSN        the environment variable, used if no other DSN is given

'mysqlinit check -h' and 'mysqlinit race -h' list the flags.
`

// Exit codes.
const (
	exitOK       = 0
	exitLost     = 1 // race: the driver lost a transaction, or committed one half
	exitFindings = 1 // check: a warning or an error
	exitError    = 2 // wrong usage, no server, or no connection
)

func main() {
	_ = mysql.SetLogger(&mysql.NopLogger{}) // its errors are shown already
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commands are called with the arguments after their names. They return an exit
// code.
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
	case "version", "-version", "--version":
		fmt.Fprintln(stdout, "mysqlinit", version())
		return exitOK
	}
	command := commands[args[0]]
	if command == nil {
		fmt.Fprintf(stderr, "mysqlinit: unknown command %q: want check, race, version or help\n", clean(args[0]))
		return exitError
	}
	return command(ctx, args[1:], stdout, stderr)
}

// parse returns the arguments that are not flags; flags can follow them. If ok is
// false, the command should exit with code.
func parse(flags *flag.FlagSet, args []string, stdout, stderr io.Writer) (rest []string, code int, ok bool) {
	flags.SetOutput(io.Discard) // of its own messages
	for {
		switch err := flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			fmt.Fprintf(stdout, "%s\nFlags of %s:\n", usage, flags.Name())
			flags.SetOutput(stdout)
			flags.PrintDefaults()
			return nil, exitOK, false
		case err != nil:
			code := failure(stderr, flags.Name())(fmt.Errorf("%w; see mysqlinit %s -h", err, flags.Name()))
			return nil, code, false
		case flags.NArg() == 0:
			return rest, 0, true
		}
		rest = append(rest, flags.Arg(0))
		args = flags.Args()[1:]
	}
}

func raceCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("race", flag.ContinueOnError)
	var o raceOptions
	flags.IntVar(&o.workers, "workers", 16, "`number` of transactions that race for each key; less if the\nserver has few free connections")
	flags.IntVar(&o.keys, "keys", 50, "`number` of keys they race for")
	flags.BoolVar(&o.force, "force", false, "play on a read-only server or a replica, too")
	var from source
	from.register(flags)
	args, code, ok := parse(flags, args, stdout, stderr)
	if !ok {
		return code
	}
	var err error
	fail := failure(stderr, "race")
	if o.workers < 2 || o.keys < 1 {
		return fail(errors.New("want 2 workers or more, and 1 key or more"))
	}
	if o.dsn, err = from.dsn(args); err != nil {
		return fail(err)
	}
	switch kept, err := race(ctx, newScreen(stdout), o); {
	case err != nil:
		return fail(err)
	case !kept:
		return exitLost
	}
	return exitOK
}

func checkCommand(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print JSON, as docs/check.md describes it")
	failOn := failsOn(inspect.Warning)
	flags.Var(&failOn, "fail-on", "exit with 1 from this `severity` on, or never")
	ignored := flags.String("ignore", "", "leave out the findings with these `IDs`, separated by commas")
	var from source
	from.register(flags)
	args, code, ok := parse(flags, args, stdout, stderr)
	if !ok {
		return code
	}
	fail := failure(stderr, "check")
	dsn, err := from.dsn(args)
	if err != nil {
		return fail(err)
	}
	if dsn == "" {
		return fail(errors.New("want one DSN, such as 'user:password@tcp(127.0.0.1:3306)/database'; see mysqlinit check -h"))
	}
	c := check(ctx, dsn)
	c.conclude(strings.FieldsFunc(*ignored, func(r rune) bool { return r == ',' || r == ' ' }))
	if *asJSON {
		err = c.writeJSON(stdout)
	} else {
		err = c.print(newScreen(stdout))
	}
	switch {
	case err != nil:
		return fail(err)
	case c.Failure != nil:
		c.printFailure(newScreen(stderr))
		return exitError
	case failOn.failed(c.Findings):
		return exitFindings
	}
	return exitOK
}

// failure returns a function that writes why a command cannot do its work, and
// returns the exit code.
func failure(stderr io.Writer, command string) func(error) int {
	return func(err error) int {
		newScreen(stderr).paragraph(plain, "mysqlinit "+command+": "+strings.TrimPrefix(err.Error(), "mysqlinit: "))
		return exitError
	}
}
