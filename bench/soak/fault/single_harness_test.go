package fault

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sys/unix"
)

// single is a node with an embedded store, on loopback.
type single struct {
	*node
	dir string // of the store
	net network
}

// newSingle returns a node that is not started.
func newSingle(dir, store, program string, args ...string) (*single, error) {
	s := &single{dir: store, net: newDirect()}
	at, err := s.net.add("node")
	if err == nil {
		s.node, err = newNode(dir, s.net, at, program, append([]string{"--data-dir", store}, args...)...)
	}
	if err != nil {
		s.net.close()
		return nil, err
	}
	return s, nil
}

func (s *single) close() {
	s.kill()
	s.net.close()
	web.CloseIdleConnections()
}

// begin starts the node and waits until it is ready.
func (s *single) begin(ctx context.Context, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	if err := s.start(); err != nil {
		return 0, err
	}
	err := until(ctx, limit, func(ctx context.Context) error {
		if !s.running() {
			return errEnded
		}
		return s.isReady(ctx)
	})
	if err != nil {
		return 0, fmt.Errorf("fault: %w\n%s", err, s.tail())
	}
	return time.Since(began), nil
}

// batch pushes durable messages in one stream, and calls answered for each stored
// one, until the stream ends or fails.
func (s *single) batch(ctx context.Context, messages int, message func(i int) (user, text string), answered func(i int, s stored)) error {
	lines, w := io.Pipe()
	go func() {
		out := bufio.NewWriter(w)
		for i := range messages {
			user, text := message(i)
			b, err := json.Marshal(map[string]any{"users": []string{user}, "durable": true, "text": text})
			if err == nil {
				_, err = out.Write(append(b, '\n'))
			}
			if err != nil {
				w.CloseWithError(err)
				return
			}
		}
		w.CloseWithError(out.Flush())
	}()
	defer lines.Close()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+s.api+"/v1/batch", lines)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answers := bufio.NewScanner(resp.Body)
	i := 0
	for ; answers.Scan(); i++ {
		var a struct {
			stored
			Error json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(answers.Bytes(), &a); err != nil || a.Error != nil || a.Offset == 0 {
			return fmt.Errorf("fault: line %d of a batch is answered %.200q", i+1, answers.Bytes())
		}
		answered(i, a.stored)
	}
	if err := answers.Err(); err != nil {
		return err
	}
	if i < messages {
		return fmt.Errorf("fault: %d of %d lines of a batch were answered", i, messages)
	}
	return nil
}

// replay connects a user and records what it receives, until it has received all
// accepted messages or limit has passed.
func (s *single) replay(ctx context.Context, d *device, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := &client{device: d}
	conn, err := c.connect(ctx, s.node)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	missing := d.h.missing(d)
	for len(missing) > 0 {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("fault: replay for %s, %d are missing: %w", d.user, len(missing), err)
		}
		c.receive(receipt{text: string(b)})
		delete(missing, string(b))
	}
	return nil
}

// grow enlarges the disk.
func (d *disk) grow(size int64) error {
	if err := unix.Mount("", d.path, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	d.size = size
	return nil
}
