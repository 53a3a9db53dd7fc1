package inbox

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// asks are the questions of this node that wait for answers. One subscription
// brings the answers to all: to make one costs half a mebibyte in the NATS
// client, and a turn of the NATS server.
type asks struct {
	prefix string // of the subjects of answers; immutable after listen

	mu   sync.Mutex
	last uint64                    // guarded by mu
	open map[string]chan *nats.Msg // by number; guarded by mu
}

func (a *asks) listen(nc *nats.Conn) (*nats.Subscription, error) {
	a.prefix = nc.NewRespInbox() + "."
	a.open = make(map[string]chan *nats.Msg)
	return nc.Subscribe(a.prefix+"*", a.answer)
}

// ask opens a question for so many answers.
func (a *asks) ask(expect int) (number string, answers <-chan *nats.Msg) {
	ch := make(chan *nats.Msg, expect)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	number = strconv.FormatUint(a.last, 36)
	a.open[number] = ch
	return number, ch
}

func (a *asks) close(number string) {
	a.mu.Lock()
	delete(a.open, number)
	a.mu.Unlock()
}

// answer is called for each, also for those that come too late.
func (a *asks) answer(m *nats.Msg) {
	number := strings.TrimPrefix(m.Subject, a.prefix)
	a.mu.Lock()
	ch := a.open[number]
	a.mu.Unlock()
	select {
	case ch <- m:
	default: // more than were expected: nobody waits for them
	}
}

// askTimeout bounds the wait for a node that has just died, or is very slow.
const askTimeout = 500 * time.Millisecond

// Ask is Send that returns the answers of those nodes.
func (r *Routes) Ask(ctx context.Context, to To, body []byte) (answers [][]byte) {
	expect := r.holders(to)
	if expect == 0 {
		r.Send(to, body) // to those whom we have not heard of yet
		return nil
	}
	number, come := r.asks.ask(expect)
	defer r.asks.close(number)
	if r.store.nc.PublishRequest(to.subject(), r.asks.prefix+number, body) != nil {
		return nil
	}
	late := time.NewTimer(askTimeout)
	defer late.Stop()
	for range expect {
		select {
		case in := <-come:
			if in.Header.Get("Status") != "" { // nobody is there
				return answers
			}
			answers = append(answers, in.Data)
		case <-late.C:
			return answers
		case <-ctx.Done():
			return answers
		}
	}
	return answers
}
