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

	"github.com/HdrHistogram/hdrhistogram-go"
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

// perWorker is how many connections one process takes where the limit on descriptors allows it.
const perWorker = 15_000

// Start starts the processes for count connections. command is the argument vector of a worker.
func Start(ctx context.Context, command []string, cfg load.Config, count int) (*Fleet, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("fleet: descriptor limit: %w", err)
	}
	each := max(1, min(perWorker, int(limit.Max)-64))
	f := &Fleet{}
	n := max(1, (count+each-1)/each)
	for i := range n {
		p, err := start(ctx, command)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.workers = append(f.workers, p)
		f.share = append(f.share, count*(i+1)/n-count*i/n)
		cfg.Number = i
		cfg.Exclusive = true
		if err := p.send(cmdConfig(cfg)); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

func cmdConfig(cfg load.Config) command { return command{Config: &cfg} }

func start(ctx context.Context, argv []string) (*process, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), Env...)
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
			// Nobody waits for it any more; its reader must not be held up.
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

// PIDs are the processes of the Fleet.
func (f *Fleet) PIDs() (pids []int) {
	for _, p := range f.workers {
		pids = append(pids, p.cmd.Process.Pid)
	}
	return pids
}

// Faults are all that the workers have reported so far.
func (f *Fleet) Faults() *load.Faults { return &f.faults }

// Close ends the workers and with them their connections.
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

// A Result adds up what the workers report.
type Result struct {
	Messages int                     // echoed or received, or handshakes done
	Elapsed  time.Duration           // of the slowest worker
	Server   time.Duration           // CPU time of the server, as the first worker saw it
	Client   time.Duration           // CPU time of all workers
	Busiest  time.Duration           // CPU time of the worker that used most: near Elapsed, it is the bottleneck
	Latency  *hdrhistogram.Histogram // nanoseconds
}

// ask sends each worker its command and adds up the replies.
func (f *Fleet) ask(ctx context.Context, make func(i, count int) command) (Result, error) {
	for i, p := range f.workers {
		if err := p.send(make(i, f.share[i])); err != nil {
			return Result{}, err
		}
	}
	return f.gather(ctx)
}

func (f *Fleet) gather(ctx context.Context) (total Result, err error) {
	for i, p := range f.workers {
		r, err := p.receive(ctx)
		if err != nil {
			return total, err
		}
		f.faults.Add(r.Faults)
		switch {
		case r.Dial != nil:
			total.Messages += r.Dial.Opened
			total.Elapsed = max(total.Elapsed, r.Dial.Elapsed)
		case r.Echo != nil:
			total.Messages += r.Echo.Messages
			total.Elapsed = max(total.Elapsed, r.Echo.Elapsed)
		case r.Receive != nil:
			total.Messages += r.Receive.Messages
		}
		total.Client += r.Client
		total.Busiest = max(total.Busiest, r.Client)
		if i == 0 {
			total.Server = r.Server
		}
		if r.Latency == "" {
			continue
		}
		h, err := Unpack(r.Latency)
		if err != nil {
			return total, err
		}
		if total.Latency == nil {
			total.Latency = h
		} else {
			total.Latency.Merge(h)
		}
	}
	return total, nil
}

// Dial opens the Fleet's connections; plan's Count and First are filled in, its Window is divided.
func (f *Fleet) Dial(ctx context.Context, plan load.DialPlan, server int) (Result, error) {
	first := uint32(0)
	window := plan.Window
	return f.ask(ctx, func(i, count int) command {
		plan := plan
		plan.Count, plan.First, plan.Window = count, first, part(window, i, len(f.workers))
		first += uint32(count)
		return command{Dial: &plan, Server: server}
	})
}

// Echo runs an EchoPlan; its Active and InFlight are divided among the workers.
func (f *Fleet) Echo(ctx context.Context, plan load.EchoPlan, server int) (Result, error) {
	return f.ask(ctx, func(i, _ int) command {
		p := plan
		p.Active, p.InFlight = part(plan.Active, i, len(f.workers)), part(plan.InFlight, i, len(f.workers))
		return command{Echo: &p, Server: server}
	})
}

// part is the i-th of n shares of total, none of them 0 unless total is.
func part(total, i, n int) int {
	if total == 0 {
		return 0
	}
	return max(1, total*(i+1)/n-total*i/n)
}

// Receive makes the workers ready for pushes. End must follow.
func (f *Fleet) Receive(ctx context.Context, plan load.ReceivePlan, server int) error {
	_, err := f.ask(ctx, func(int, int) command { return command{Receive: &plan, Server: server} })
	return err
}

// Arrived waits until broadcast seq has reached every connection, and tells when the last one had it.
func (f *Fleet) Arrived(ctx context.Context, seq uint32) (last int64, err error) {
	for _, p := range f.workers {
		for {
			var a load.Arrival
			select {
			case a = <-p.arrived:
			case <-ctx.Done():
				return last, fmt.Errorf("fleet: broadcast %d has not reached everybody: %w", seq, ctx.Err())
			}
			last = max(last, a.At)
			if a.Seq == seq {
				break
			}
		}
	}
	return last, nil
}

// End stops receiving. next is the number of the broadcast that would be next: who did not get as far has
// lost messages.
func (f *Fleet) End(ctx context.Context, next uint32) (Result, error) {
	return f.ask(ctx, func(int, int) command { return command{End: &next} })
}
