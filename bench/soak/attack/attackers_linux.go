package attack

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A process of attackers, as its parent sees it.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	ready  chan struct{} // closed when all attackers have started
	enough chan struct{} // closed when they have counted what the order needs
	done   chan struct{} // closed when the process has ended
	// outcome is valid when done is closed; nil if the process reported none.
	outcome Outcome
	close   sync.Once // of in
}

// startAttackers starts the attackers of a trial, with an order. Where latency is judged they run at the lowest
// priority: a real attacker has a machine of its own.
func startAttackers(ctx context.Context, t *trial, order Order) (*process, error) {
	argv := t.cfg.Attacker
	if t.cfg.Judge {
		argv = append(asAttacker(), argv...)
	}
	if t.space != nil && !order.Harmless {
		argv = append([]string{"ip", "netns", "exec", t.space.name}, argv...)
	}
	p := &process{
		cmd:   exec.CommandContext(ctx, argv[0], argv[1:]...),
		ready: make(chan struct{}), enough: make(chan struct{}), done: make(chan struct{}),
	}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	go p.listen(out)
	if err := json.NewEncoder(p.in).Encode(order); err != nil {
		p.stop()
		return nil, fmt.Errorf("attack: order: %w", err)
	}
	return p, nil
}

func (p *process) listen(out io.Reader) {
	defer close(p.done)
	d := json.NewDecoder(bufio.NewReader(out))
	for {
		var s signal
		if d.Decode(&s) != nil {
			break
		}
		if s.Ready {
			close(p.ready)
		}
		if s.Enough {
			close(p.enough)
		}
		if s.Outcome != nil {
			p.outcome = s.Outcome
		}
	}
	p.cmd.Wait()
}

// finish ends the attack, waits for the attackers, and returns their outcome and the processor time they used.
func (p *process) finish() (o Outcome, used time.Duration, err error) {
	p.end()
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.stop()
		return nil, 0, errors.New("attack: the attackers did not end within a minute")
	}
	if p.outcome == nil {
		return nil, 0, fmt.Errorf("attack: the attackers reported no outcome: %v", p.cmd.ProcessState)
	}
	return p.outcome, p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), nil
}

func (p *process) end() { p.close.Do(func() { p.in.Close() }) }

// stop ends the process, by force after five seconds.
func (p *process) stop() {
	p.end()
	late := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	<-p.done
}
