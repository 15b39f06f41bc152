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

// Process is a program that runs in its own folder. When this process ends, in
// whatever way, the program is ended and the folder removed.
type Process struct {
	Folder string   // holds the program's output, in the file log, and whatever the program needs
	Argv   []string // the program and its arguments
	env    []string
	keeper *exec.Cmd
	orders io.WriteCloser
	ended  chan struct{} // closed when the program has ended
}

// keep is the script of the keeper: a shell that runs the program in the
// background and reads its standard input. The input ends when this process
// ends, in whatever way. Then the keeper kills the program and removes the
// folder. Until then the keeper obeys orders: "kill" only kills the program,
// "leave" kills it and leaves the folder to another keeper. The program holds the
// keeper's standard output open, so the end of that output is the program's end.
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

// StartProcess starts a program. argv is the program and its arguments, env is
// added to this process's environment. If the start fails, the folder is removed.
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

// Await waits until answers returns nil. It gives up after 60 seconds, or when
// the program has ended. The error then holds the last lines of the program's log.
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
			err = errors.New("the program has ended")
		case <-time.After(10 * time.Millisecond):
			continue
		}
		log, _ := os.ReadFile(filepath.Join(p.Folder, "log"))
		return fmt.Errorf("%s did not start: %w\n%s", p.Argv[0], err, tail(log))
	}
}

// Kill ends the program at once, as a crash would. The folder stays, so that
// Restart can use it.
func (p *Process) Kill() error {
	_, err := io.WriteString(p.orders, "kill\n")
	if err == nil {
		<-p.ended
	}
	return err
}

// Ended returns a channel that is closed when the program has ended. Each Restart
// makes a new channel.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Restart starts the program again in its folder, with more arguments after those
// of the first start. If the program still runs, it is killed before.
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
