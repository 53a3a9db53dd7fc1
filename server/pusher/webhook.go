package pusher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"fanfare/server/internal/callout"
)

// eventKinds are the events of webhooks.
var eventKinds = []string{"channel_occupied", "channel_vacated", "member_added", "member_removed", "client_event", "cache_miss", "subscription_count"}

// hookEvent is an event of a webhook.
type hookEvent struct {
	Name              string `json:"name"`
	Channel           string `json:"channel"`
	UserID            string `json:"user_id,omitzero"`
	Event             string `json:"event,omitzero"`
	Data              string `json:"data,omitzero"`
	SocketID          string `json:"socket_id,omitzero"`
	SubscriptionCount *int   `json:"subscription_count,omitzero"`
}

// hookData returns the data of a client event as a string: a string as it is, everything else as
// its JSON.
func hookData(v jsontext.Value) string {
	var text string
	if v.Kind() == '"' && json.Unmarshal(v, &text) == nil {
		return text
	}
	return string(v)
}

// hookBody is the body of a webhook.
type hookBody struct {
	TimeMS int64       `json:"time_ms"`
	Events []hookEvent `json:"events"`
}

const (
	maxHookQueue = 10_000 // events of an app that wait; more are dropped, and counted
	maxHookBatch = 100    // events in one request
	hookGather   = 50 * time.Millisecond
	hookTimeout  = 10 * time.Second
	hookTries    = 8 // with pauses of 0.5 s, 1 s, … up to hookPause: about two minutes
	hookPause    = 30 * time.Second
	hookClose    = time.Second
)

// webhooks sends the events of an app, in their order, from a goroutine that runs while there
// are events.
type webhooks struct {
	// Immutable after init.
	app  *app
	quit context.Context
	stop context.CancelFunc

	mu      sync.Mutex
	waiting []hookEvent // guarded by mu
	running bool        // guarded by mu
	closed  bool        // guarded by mu
	dropped int64       // guarded by mu
	ended   sync.WaitGroup
}

func (w *webhooks) init(a *app) {
	w.app = a
	w.quit, w.stop = context.WithCancel(context.Background())
}

// add queues an event, if a webhook wants it. It does not block.
func (w *webhooks) add(e hookEvent) {
	if !w.app.conf().hears(e.Name) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.waiting) >= maxHookQueue {
		w.dropped++
		if w.dropped == 1 || w.dropped%1000 == 0 {
			w.app.service.log.Warn("Pusher webhook events dropped", "app", w.app.id, "dropped", w.dropped, "waiting", len(w.waiting))
		}
		return
	}
	w.waiting = append(w.waiting, e)
	if !w.running {
		w.running = true
		w.ended.Go(w.run)
	}
}

func (h *Webhook) target() callout.Target {
	return callout.Target{URL: h.URL, InsecureHTTP: h.InsecureHTTP}
}

func (h *Webhook) wants(kind string) bool {
	return len(h.Events) == 0 || slices.Contains(h.Events, kind)
}

// hears reports whether a webhook of the app wants an event.
func (app *App) hears(kind string) bool {
	return slices.ContainsFunc(app.Webhooks, func(h Webhook) bool { return h.wants(kind) })
}

// run sends until nothing waits.
func (w *webhooks) run() {
	clients := make(map[callout.Target]*http.Client) // their connections serve the batches that follow
	defer func() {
		for _, client := range clients {
			client.CloseIdleConnections()
		}
	}()
	for {
		select { // events that belong together go together
		case <-w.quit.Done():
		case <-time.After(hookGather):
		}
		w.mu.Lock()
		n := min(len(w.waiting), maxHookBatch)
		batch := slices.Clone(w.waiting[:n])
		w.waiting = slices.Delete(w.waiting, 0, n)
		if n == 0 {
			w.running = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		conf := w.app.conf()
		for i := range conf.Webhooks {
			w.send(conf, &conf.Webhooks[i], batch, clients)
		}
	}
}

// send sends a batch to a webhook, again and again if that fails. It adds to clients what it
// misses there.
func (w *webhooks) send(conf *App, hook *Webhook, batch []hookEvent, clients map[callout.Target]*http.Client) {
	batch = slices.DeleteFunc(slices.Clone(batch), func(e hookEvent) bool { return !hook.wants(e.Name) })
	if len(batch) == 0 {
		return
	}
	body, err := json.Marshal(hookBody{w.app.service.now().UnixMilli(), batch}, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		panic("BUG: pusher: a webhook without JSON: " + err.Error())
	}
	target := hook.target()
	client := clients[target]
	if client == nil {
		if client, err = target.Client(1); err != nil {
			return // validate has accepted it
		}
		clients[target] = client
	}
	pause := time.Second / 2
	for try := 1; ; try++ {
		if err = post(client, conf, hook.URL, body); err == nil {
			return
		}
		if try == hookTries || w.quit.Err() != nil {
			break
		}
		select {
		case <-w.quit.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, hookPause)
	}
	w.mu.Lock()
	w.dropped += int64(len(batch))
	w.mu.Unlock()
	w.app.service.log.Error("Pusher webhook failed, events dropped", "app", w.app.id, "events", len(batch), "err", err)
}

// post makes one request, signed as the protocol wants it. The error does not name the URL.
func post(client *http.Client, conf *App, url string, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), hookTimeout)
	defer cancel()
	r, err := callout.NewPost(ctx, url, body)
	if err != nil {
		return errors.New("the URL is malformed")
	}
	r.Header.Set("X-Pusher-Key", conf.Key)
	r.Header.Set("X-Pusher-Signature", conf.sign(string(body)))
	resp, err := callout.Send(client, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the answer is %s, not 2xx", resp.Status)
	}
	return nil
}

// close sends what waits once more, within hookClose, and ends the goroutine.
func (w *webhooks) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.ended.Wait()
	}()
	select {
	case <-done:
	case <-time.After(hookClose):
	}
}
