package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that can be started, killed and started again. All of its
// output goes to one file.
type process struct {
	name string
	at   *place
	argv []string
	env  []string
	log  string

	mu   sync.Mutex
	cmd  *exec.Cmd     // nil: not running; guarded by mu
	done chan struct{} // closed when cmd has ended; guarded by mu
	exit int           // status of the last that has ended by itself; guarded by mu
}

func newProcess(dir string, at *place, argv ...string) *process {
	return &process{name: at.name, at: at, argv: argv, log: filepath.Join(dir, at.name+".log")}
}

// start starts the program, and does not wait until it is ready.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("fault: %s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	defer log.Close() // the child has its own descriptor
	argv := slices.Concat(p.at.prefix, p.argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own, so that Ctrl-C reaches only this process. The
	// child ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("fault: %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		cmd.Wait()
		close(done)
	}()
	return nil
}

// signal sends a signal and reports whether the process was running.
func (p *process) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && p.cmd.Process.Signal(sig) == nil
}

// kill sends SIGKILL and waits until the process has ended.
func (p *process) kill() { p.end(syscall.SIGKILL) }

// stop sends SIGTERM, and after five seconds SIGKILL.
func (p *process) stop() { p.end(syscall.SIGTERM) }

func (p *process) end(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
}

// running reports whether the process runs. One that has exited can be started
// again.
func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		p.exit = p.cmd.ProcessState.ExitCode()
		p.cmd = nil
		return false
	default:
		return true
	}
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// status returns the exit status of a process that has ended by itself.
func (p *process) status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// tail returns the end of the output.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	const most = 3 << 10
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return string(b)
}

// alarms returns lines that no process may print.
func (p *process) alarms() (lines []string) {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		for _, word := range []string{"panic", "BUG:", "fatal error:", "DATA RACE"} {
			if bytes.Contains(line, []byte(word)) {
				lines = append(lines, p.name+": "+strings.TrimSpace(string(line)))
				break
			}
		}
	}
	return lines
}

// errEnded means that a process has exited.
var errEnded = errors.New("fault: the process has exited")

// until calls f every few milliseconds until it returns nil, and returns its last
// error if that takes longer than limit.
func until(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil || errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
