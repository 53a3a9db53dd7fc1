package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"fanfare/bench/load"
	"fanfare/bench/proc"
)

// A Fleet is the load clients of one measurement.
type Fleet struct {
	workers []*process
	share   []int // connections per worker
	faults  load.Faults
}

type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	replies chan reply // closed when the process has ended
	arrived chan load.Arrival
}

// MaxWorkers is more than any Fleet has: two Fleets whose first numbers are that far apart share no source addresses.
const MaxWorkers = 50

// perWorker is the most connections of one process, if its descriptor limit allows that many.
const perWorker = 250_000

// Start starts the processes for count connections. argv is the argument vector of a worker. The workers are
// numbered from cfg.Number.
func Start(ctx context.Context, argv []string, cfg load.Config, count int) (*Fleet, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("fleet: descriptor limit: %w", err)
	}
	return startWith(ctx, argv, cfg, count, max(1, min(perWorker, int(limit.Max)-64)))
}

// startWith starts one process for every each connections.
func startWith(ctx context.Context, argv []string, cfg load.Config, count, each int) (*Fleet, error) {
	f := &Fleet{}
	n := max(1, (count+each-1)/each)
	for i := range n {
		p, err := start(ctx, argv)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.workers = append(f.workers, p)
		f.share = append(f.share, count*(i+1)/n-count*i/n)
		cfg.Exclusive = true
		if err := p.send(command{Config: &cfg}); err != nil {
			f.Close()
			return nil, err
		}
		cfg.Number++
	}
	return f, nil
}

func start(ctx context.Context, argv []string) (*process, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = proc.Environ(debugSettings)
	cmd.Stderr = os.Stderr
	// A group of its own: Ctrl-C is for the parent, which then ends the workers in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("fleet: worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("fleet: worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("fleet: worker: %w", err)
	}
	p := &process{cmd: cmd, in: in, replies: make(chan reply, 1), arrived: make(chan load.Arrival, 64)}
	go p.read(out)
	return p, nil
}

func (p *process) read(out io.Reader) {
	defer close(p.replies)
	d := json.NewDecoder(bufio.NewReader(out))
	for {
		var r reply
		if err := d.Decode(&r); err != nil {
			return
		}
		if r.Arrival != nil {
			p.arrived <- *r.Arrival
			continue
		}
		p.replies <- r
	}
}

func (p *process) send(c command) error {
	if err := json.NewEncoder(p.in).Encode(c); err != nil {
		return fmt.Errorf("fleet: command to a worker: %w", err)
	}
	return nil
}

var errEnded = errors.New("fleet: a worker has ended")

func (p *process) receive(ctx context.Context) (reply, error) {
	for {
		select {
		case r, ok := <-p.replies:
			if !ok {
				return r, errEnded
			}
			if r.Error != "" {
				return r, errors.New("fleet: worker: " + r.Error)
			}
			return r, nil
		case <-p.arrived:
			// No one waits for this arrival, and the reader must not block.
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

// PIDs returns the process numbers of the workers.
func (f *Fleet) PIDs() (pids []int) {
	for _, p := range f.workers {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// Faults returns all faults that the workers have reported so far.
func (f *Fleet) Faults() *load.Faults { return &f.faults }

// Close ends the workers and their connections.
func (f *Fleet) Close() {
	for _, p := range f.workers {
		p.in.Close()
	}
	for _, p := range f.workers {
		late := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
		for range p.replies {
		}
		p.cmd.Wait()
		late.Stop()
	}
	f.workers = nil
}
