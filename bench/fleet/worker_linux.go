package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"fanfare/bench/load"
	"fanfare/bench/proc"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// debugSettings is the GODEBUG of a worker. Without it the runtime interrupts a wait in the kernel every 10 ms.
const debugSettings = "asyncpreemptoff=1"

type worker struct {
	client *load.Client
	out    *json.Encoder
	tail   []byte   // of an unfinished line
	lines  [][]byte // commands that have not been run
	err    error    // why the input ended
}

// Work runs a worker process. It returns when in ends.
func Work(in, out *os.File) error {
	debug.SetGCPercent(-1) // it allocates a little per handshake and per command, nothing per message
	runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	w := &worker{out: json.NewEncoder(out)}
	for len(w.lines) == 0 && w.err == nil {
		w.read(in)
	}
	if w.err != nil {
		return w.end()
	}
	var first command
	if err := json.Unmarshal(w.take(), &first); err != nil || first.Config == nil {
		return fmt.Errorf("fleet: first command: %w", err)
	}
	var err error
	if w.client, err = load.New(*first.Config); err != nil {
		return err
	}
	defer w.client.Close()
	if err := w.client.Watch(int(in.Fd()), func() { w.read(in) }); err != nil {
		return err
	}
	for {
		w.client.Rest(w.waiting)
		if w.err != nil {
			return w.end()
		}
		var c command
		if err := json.Unmarshal(w.take(), &c); err != nil {
			return fmt.Errorf("fleet: command: %w", err)
		}
		w.reply(w.run(c))
	}
}

func (w *worker) end() error {
	if errors.Is(w.err, io.EOF) {
		return nil
	}
	return fmt.Errorf("fleet: commands: %w", w.err)
}

func (w *worker) read(in *os.File) {
	b := make([]byte, 64<<10)
	n, err := in.Read(b)
	w.tail = append(w.tail, b[:n]...)
	for {
		line, rest, ok := bytes.Cut(w.tail, []byte("\n"))
		if !ok {
			break
		}
		w.lines, w.tail = append(w.lines, line), rest
	}
	if err != nil {
		w.err = err
	}
}

func (w *worker) waiting() bool { return len(w.lines) > 0 || w.err != nil }

func (w *worker) take() []byte {
	line := w.lines[0]
	w.lines = w.lines[1:]
	return line
}

func (w *worker) run(c command) (r reply) {
	var latency *hdrhistogram.Histogram
	meter := meter{server: c.Server}
	switch {
	case c.Dial != nil:
		meter.mark()
		d := w.client.Dial(*c.Dial)
		meter.mark()
		r.Dial, latency = &d, d.Latency
	case c.Echo != nil:
		e := w.client.Echo(*c.Echo, meter.mark)
		r.Echo, latency = &e, e.Latency
	case c.Pace != nil:
		meter.mark()
		e := w.client.Pace(*c.Pace)
		meter.mark()
		r.Pace, latency = &e, e.Latency
	case c.Churn != nil:
		meter.mark()
		d := w.client.Churn(*c.Churn)
		meter.mark()
		r.Churn, latency = &d, d.Latency
	case c.Receive != nil:
		d := w.receive(*c.Receive)
		r.Receive, latency = &d, d.Latency
	case c.Stick > 0:
		r.Stuck = w.client.Stick(c.Stick)
	case c.Faults:
	default:
		r.Error = "a command without a part"
	}
	r.Server, r.Client = meter.used()
	if meter.err != nil {
		r.Error = meter.err.Error()
	}
	if latency != nil {
		var err error
		if r.Latency, err = Pack(latency); err != nil {
			r.Error = err.Error()
		}
	}
	r.Live, r.Pings, r.Faults = w.client.Live(), w.client.Pings(), w.client.Faults()
	return r
}

// receive receives pushes and answers Poll until End.
func (w *worker) receive(plan load.ReceivePlan) load.ReceiveResult {
	r := w.client.Receive(plan, func(a load.Arrival) { w.reply(reply{Arrival: &a}) })
	w.reply(reply{}) // ready
	var next uint32
	w.client.Run(func() bool {
		for len(w.lines) > 0 {
			var c command
			if err := json.Unmarshal(w.take(), &c); err != nil {
				w.err = fmt.Errorf("fleet: command: %w", err)
			}
			if c.End != nil {
				next = *c.End
				return true
			}
			w.reply(reply{Count: r.Received()})
		}
		return w.err != nil
	})
	return r.Finish(next)
}

func (w *worker) reply(r reply) {
	if err := w.out.Encode(r); err != nil {
		w.err = err
	}
}

// A meter measures the CPU time between two marks.
type meter struct {
	server int
	at     [2][2]time.Duration
	n      int
	err    error
}

func (m *meter) mark() {
	if m.n == 2 {
		return
	}
	for i, pid := range []int{m.server, os.Getpid()} {
		if pid == 0 {
			continue
		}
		cpu, err := proc.CPU(pid)
		if err != nil {
			m.err = err
		}
		m.at[m.n][i] = cpu
	}
	m.n++
}

func (m *meter) used() (server, client time.Duration) {
	return m.at[1][0] - m.at[0][0], m.at[1][1] - m.at[0][1]
}
