package clients

import (
	"bufio"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// program is the client, and what it needs, pinned.
//
//go:embed node/client.mjs node/package.json node/package-lock.json
var program embed.FS

// install puts the client and the ws package into a directory, once for all tests of
// a process. Main removes it.
var install = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "fanfare-node-"); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, program); err != nil {
		return dir, err
	}
	dir = filepath.Join(dir, "node")
	npm := exec.Command("npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return dir, nil
})

func uninstall() {
	if installed {
		dir, _ := install()
		os.RemoveAll(filepath.Dir(dir))
	}
}

var installed bool

// event is what client.mjs tells.
type event struct {
	Event  string
	Text   string
	Binary bool
	Code   int
	Reason string
}

type nodeClient struct {
	process *exec.Cmd
	in      io.WriteCloser
	events  *json.Decoder
}

func needNode() error {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return err
		}
	}
	installed = true
	_, err := install()
	return err
}

// dialNode starts a process.
func dialNode(url string) (Client, error) {
	dir, err := install()
	if err != nil {
		return nil, err
	}
	c := &nodeClient{process: exec.Command("node", "client.mjs", url)}
	c.process.Dir, c.process.Stderr = dir, os.Stderr
	if c.in, err = c.process.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.events = json.NewDecoder(bufio.NewReader(out))
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	if _, err := c.next("open"); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// next waits for an event of this name.
func (c *nodeClient) next(name string) (e event, err error) {
	// A process that says nothing is ended, and with it its output.
	watch := time.AfterFunc(patience, func() { c.process.Process.Kill() })
	defer watch.Stop()
	if err := c.events.Decode(&e); err != nil {
		return e, fmt.Errorf("node said no more: %w", err)
	}
	switch e.Event {
	case name:
		return e, nil
	case "close":
		return e, Closed{e.Code, e.Reason}
	case "rejected":
		return e, Rejected(e.Code)
	}
	return e, fmt.Errorf("node said %+v, not %s", e, name)
}

func (c *nodeClient) Send(text string) error {
	_, err := fmt.Fprintln(c.in, text)
	return err
}

func (c *nodeClient) Receive() (string, error) {
	e, err := c.next("message")
	if err == nil && e.Binary {
		return "", fmt.Errorf("a binary message")
	}
	return e.Text, err
}

func (c *nodeClient) Close() error {
	c.in.Close()
	return awaitClose(c)
}

func (c *nodeClient) end() {
	c.process.Process.Kill()
	c.process.Wait()
}
