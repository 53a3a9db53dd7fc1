package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"fanfare/frame"
)

// wantClose reads up to the close frame, and to the end of the stream after it.
func (g *guest) wantClose(code Code) {
	g.t.Helper()
	for {
		_, _, err := wsutil.ReadServerData(g)
		var closed wsutil.ClosedError
		if err == nil {
			continue
		}
		if !errors.As(err, &closed) || closed.Code != code {
			g.t.Fatalf("got %v, want code %d", err, code)
		}
		if _, err := g.r.ReadByte(); err == nil {
			g.t.Fatal("more bytes after the close frame")
		}
		return
	}
}

// control reads a control frame.
func (g *guest) control() (op Op, payload []byte, err error) {
	h, err := ws.ReadHeader(g)
	if err != nil || h.Length > ws.MaxControlFramePayloadSize {
		return h.OpCode, nil, fmt.Errorf("frame of %d bytes, %v", h.Length, err)
	}
	payload = make([]byte, h.Length)
	_, err = io.ReadFull(g, payload)
	return h.OpCode, payload, err
}

func TestMountHookPanics(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			log := &strings.Builder{}
			var mu sync.Mutex
			ended := make(chan frame.CloseError, 1)
			srv, m := bare(t, Config{Logger: slog.New(slog.NewTextHandler(locked{&mu, log}, nil))}, Endpoint{
				Identifier: FromQuery,
				Hooks: Hooks{
					OnOpen: func(s *Session) {
						if s.User() == "open" {
							panic("in OnOpen")
						}
					},
					OnMessage: func(*Session, Op, []byte) { panic("in OnMessage") },
					OnClose:   func(_ *Session, why frame.CloseError) { ended <- why },
				},
			})
			dial := in(t, h, m)
			for i, user := range []string{"open", "message"} {
				g := dial()
				g.enter(knock("/?user=" + user))
				if user == "message" {
					g.say("x")
				}
				g.wantClose(1011)
				if why := <-ended; why.Code != 1011 {
					t.Errorf("OnClose was called with %v", why)
				}
				mu.Lock()
				if n := strings.Count(log.String(), "panic recovered"); n != i+1 {
					t.Errorf("%d log lines: %s", n, log)
				}
				mu.Unlock()
			}
			if srv.stats.Panics.Load() != 2 {
				t.Errorf("%d panics counted", srv.stats.Panics.Load())
			}
		})
	}
}

type locked struct {
	mu *sync.Mutex
	w  *strings.Builder
}

func (l locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestMountDrains(t *testing.T) {
	for _, h := range hosts {
		t.Run(h.name, func(t *testing.T) {
			srv, m := bare(t, Config{}, EchoEndpoint(""))
			dial := in(t, h, m)
			g := dial()
			g.enter(knock("/"))
			ended := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				ended <- srv.Shutdown(ctx)
			}()
			g.wantClose(1001)
			if err := <-ended; err != nil {
				t.Error(err)
			}
			late := dial()
			if resp, _ := late.ask(knock("/")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("a late one got %s, %v", resp.Status, resp.Header)
			}
		})
	}
}

// Clients that come while the server drains are rejected or closed with 1001;
// none is forgotten.
func TestMountDrainsUnderLoad(t *testing.T) {
	for _, h := range hosts {
		if h.tls {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			srv, m := bare(t, Config{}, Endpoint{})
			dial := in(t, h, m)
			var wg sync.WaitGroup
			entered := make(chan struct{}, 1)
			for range 8 {
				wg.Go(func() {
					for {
						g := dial()
						resp, _ := g.ask(knock("/"))
						if resp.StatusCode == 503 {
							return
						}
						select {
						case entered <- struct{}{}:
						default:
						}
						wg.Go(func() {
							if op, _, err := g.control(); err != nil || op != ws.OpClose {
								t.Errorf("forgotten: %v, %v", op, err)
							}
							g.Close()
						})
					}
				})
			}
			<-entered
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			wg.Wait()
		})
	}
}

// A code that may not be sent is sent as none; it used to end the process.
func TestCloseWithAnyCode(t *testing.T) {
	tests := []struct {
		code     Code
		sent     bool
		observed Code
	}{
		{1000, true, 1000}, {4999, true, 4999}, {1012, true, 1012},
		{0, false, 1005}, {999, false, 1005}, {1004, false, 1005}, {1006, false, 1005}, {5000, false, 1005}, {65535, false, 1005},
	}
	for _, test := range tests {
		ended := make(chan frame.CloseError, 1)
		srv, m := bare(t, Config{}, Endpoint{Identifier: FromQuery, Hooks: Hooks{OnClose: func(_ *Session, why frame.CloseError) { ended <- why }}})
		g := in(t, hosts[0], m)()
		g.enter(knock("/?user=a"))
		if n := srv.disconnectHere("a", test.code, "reason"); n != 1 {
			t.Errorf("%d: closed %d", test.code, n)
		}
		if op, payload, err := g.control(); err != nil || op != ws.OpClose || (len(payload) > 0) != test.sent {
			t.Errorf("%d: got %v % x, %v", test.code, op, payload, err)
		}
		ws.WriteFrame(g, ws.MaskFrame(ws.NewCloseFrame(nil)))
		if why := <-ended; why.Code != test.observed {
			t.Errorf("%d: OnClose was called with %v", test.code, why)
		}
	}
}
