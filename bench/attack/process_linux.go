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
	"syscall"
	"time"
)

// A mobProcess is a process of attackers, seen from outside.
type mobProcess struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	ready chan struct{} // closed when all attackers are in place
	done  chan struct{} // closed when it has ended
	said  Outcome       // valid when done is closed; nil: nothing
}

// startMob starts the attackers; if latency is to be judged, at the lowest priority: elsewhere they would have
// processors of their own.
func startMob(ctx context.Context, r *running) (*mobProcess, error) {
	argv := r.cfg.Attacker
	if r.cfg.Strict {
		argv = append(asAttacker(), argv...)
	}
	if r.space != nil {
		argv = append([]string{"ip", "netns", "exec", r.space.name}, argv...)
	}
	p := &mobProcess{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), ready: make(chan struct{}), done: make(chan struct{})}
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
	if err := json.NewEncoder(p.in).Encode(r.order); err != nil {
		p.stop()
		return nil, fmt.Errorf("attack: order: %w", err)
	}
	return p, nil
}

func (p *mobProcess) listen(out io.Reader) {
	defer close(p.done)
	d := json.NewDecoder(bufio.NewReader(out))
	for {
		var s sign
		if d.Decode(&s) != nil {
			break
		}
		if s.Ready {
			close(p.ready)
		}
		if s.Outcome != nil {
			p.said = s.Outcome
		}
	}
	p.cmd.Wait()
}

// outcome waits until the attackers have gone, and tells how many cores they used in that time.
func (p *mobProcess) outcome(took time.Duration) (o Outcome, cores float64, err error) {
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.stop()
		return nil, 0, errors.New("attack: the attackers do not end")
	}
	if p.said == nil {
		return nil, 0, fmt.Errorf("attack: the attackers ended without a word: %v", p.cmd.ProcessState)
	}
	used := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	return p.said, used.Seconds() / took.Seconds(), nil
}

// stop ends it.
func (p *mobProcess) stop() {
	p.in.Close()
	late := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
	defer late.Stop()
	<-p.done
}
