package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Process is a program that runs in a folder of its own. Both go with this
// process, however that ends.
type Process struct {
	Folder string   // holds the program's output, as log, and whatever it needs
	Argv   []string // the program and its arguments
	env    []string
	keeper *exec.Cmd
	orders io.WriteCloser
	ended  chan struct{} // closed at the program's end
}

// keep starts the program in the background of a shell that waits for the end
// of its standard input, which comes when this process ends in whatever way,
// and then kills the program and removes the folder. Before that it takes
// orders: "kill" kills the program only, "leave" leaves the folder to another keeper.
// The program holds the shell's standard output open: its end shows there.
const keep = `trap '' INT TERM HUP
folder=$1; shift
"$@" 3>&1 </dev/null >>"$folder/log" 2>&1 &
program=$!
exec >/dev/null 2>&1
end() { [ -z "$program" ] || kill -9 "$program"; wait; program=; }
while read -r order; do
	end
	[ "$order" = kill ] || exit 0
done
end
rm -rf "$folder"`

// StartProcess starts a program, which stands before its arguments, with env beside this process's
// environment. The folder is removed also where that fails.
func StartProcess(folder string, env []string, argv ...string) (*Process, error) {
	p := &Process{Folder: folder, Argv: argv, env: env}
	if err := p.start(argv); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return p, nil
}

func (p *Process) start(argv []string) error {
	keeper := exec.Command("/bin/sh", append([]string{"-c", keep, "keep", p.Folder}, argv...)...)
	keeper.Env = append(os.Environ(), p.env...)
	detach(keeper)
	orders, err := keeper.StdinPipe()
	if err != nil {
		return err
	}
	output, err := keeper.StdoutPipe()
	if err != nil {
		return err
	}
	if err := keeper.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, output)
		close(ended)
	}()
	p.keeper, p.orders, p.ended = keeper, orders, ended
	return nil
}

// Await waits until answers returns no error, at most 60 seconds, and not beyond
// the program's end. The error holds the end of its log.
func (p *Process) Await(ctx context.Context, answers func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			err = fmt.Errorf("no answer in time: %w", err)
		case <-p.ended:
			err = errors.New("it has ended")
		case <-time.After(10 * time.Millisecond):
			continue
		}
		log, _ := os.ReadFile(filepath.Join(p.Folder, "log"))
		return fmt.Errorf("%s did not start: %w\n%s", p.Argv[0], err, tail(log))
	}
}

// Kill ends the program at once, as a crash would. Its folder stays, for Restart.
func (p *Process) Kill() error {
	_, err := io.WriteString(p.orders, "kill\n")
	if err == nil {
		<-p.ended
	}
	return err
}

// Ended is closed when the program has ended, and another after each Restart.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Restart starts the program again in its folder, after Kill where it still runs, with
// more arguments behind those that it had.
func (p *Process) Restart(more ...string) error {
	if err := p.Kill(); err != nil {
		return err
	}
	before := *p
	if err := p.start(slices.Concat(p.Argv, more)); err != nil {
		return err
	}
	_, err := io.WriteString(before.orders, "leave\n")
	return errors.Join(err, before.orders.Close(), before.keeper.Wait())
}

// Stop ends the program and removes its folder.
func (p *Process) Stop() error {
	err := p.orders.Close()
	<-p.ended
	return errors.Join(err, p.keeper.Wait())
}
