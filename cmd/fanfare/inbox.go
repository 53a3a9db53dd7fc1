package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"fanfare/server/cluster"
	"fanfare/server/inbox"
)

// inboxFlags are those for messages that are kept. Where the name of a field
// without "Inbox" is that of a field of inbox.Config, it means the same.
type inboxFlags struct {
	DataDir      string `help:"Keep durable messages in this directory; none: nowhere." default:"fanfare-data"`
	NATS         string `name:"nats" help:"Keep them in this NATS cluster with JetStream instead: nats://a,nats://b." placeholder:"URL"`
	NATSCreds    string `name:"nats-creds" help:"Credentials for it." placeholder:"FILE"`
	NATSCA       string `name:"nats-ca" help:"Authorities that its certificate is checked with, PEM." placeholder:"FILE"`
	NATSCert     string `name:"nats-cert" help:"Certificate to present to it, PEM." placeholder:"FILE"`
	NATSKey      string `name:"nats-key" help:"The key of that, PEM." placeholder:"FILE"`
	NATSReplicas int    `name:"nats-replicas" help:"Copies of each message there." default:"1"`

	NodeName string `help:"Name of this node in the cluster; the host name and a random suffix by default." placeholder:"NAME"`

	DurableTopic []string `help:"Topic that is kept too, or news.* for all that begin with news. Repeatable." placeholder:"TOPIC"`

	InboxMessages int           `help:"Messages kept for one user, or durable topic." default:"1000"`
	InboxBytes    size          `help:"Payloads kept for one user, or durable topic." default:"1MiB"`
	InboxAge      time.Duration `help:"How long messages are kept." default:"168h"`
	InboxDisk     size          `help:"Disk for all messages." default:"4GiB"`
	InboxFull     string        `help:"At a user's limit: drop-oldest, or refuse with 507." enum:"drop-oldest,refuse" default:"drop-oldest"`
	InboxDiskFull string        `help:"At the limit of the disk: refuse with 507, or drop-oldest." enum:"drop-oldest,refuse" default:"refuse"`
	InboxWindow   time.Duration `help:"How long a repetition with the same id is recognized." default:"2m"`
	InboxSync     flush         `help:"How often --data-dir is flushed to the disk, which is what a power cut can cost; always: before each push is answered." default:"1s"`
}

const (
	defaultDataDir = "fanfare-data" // in the working directory
	noDataDir      = "none"
)

// storeError says what to do where the store does not open.
func (f *inboxFlags) storeError(err error) error {
	var file *fs.PathError
	switch {
	case errors.Is(err, inbox.ErrLocked):
		return fmt.Errorf("%w: each server needs a --data-dir of its own, or --data-dir none to keep no messages", startError(err))
	case f.NATS == "" && errors.As(err, &file):
		return fmt.Errorf("%w: give --data-dir a directory for durable messages, or none", startError(err))
	}
	return startError(err)
}

// flush is a time, or always.
type flush time.Duration

func (f *flush) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*f = -1
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d <= 0 {
		return fmt.Errorf("want a time like 1s, or always, not %q", text)
	}
	*f = flush(d)
	return nil
}

// store is the configuration of the inbox, nil if there is none.
func (f *inboxFlags) store(log *slog.Logger) (*inbox.Config, error) {
	dir := f.DataDir
	switch {
	case f.NATS != "" && (dir == defaultDataDir || dir == noDataDir):
		dir = ""
	case f.NATS != "":
		return nil, errors.New("--data-dir and --nats exclude each other")
	case dir == noDataDir:
		return nil, nil
	case dir == "":
		return nil, errors.New("--data-dir is empty: want a directory, or none")
	}
	full, err := inbox.ParseWhenFull(f.InboxFull)
	if err != nil {
		return nil, err
	}
	diskFull, err := inbox.ParseWhenFull(f.InboxDiskFull)
	if err != nil {
		return nil, err
	}
	return &inbox.Config{
		Dir:         dir,
		URL:         f.NATS,
		Credentials: f.NATSCreds,
		CA:          f.NATSCA,
		Cert:        f.NATSCert,
		Key:         f.NATSKey,
		Replicas:    f.NATSReplicas,
		Messages:    f.InboxMessages,
		Bytes:       int64(f.InboxBytes),
		Age:         f.InboxAge,
		Disk:        int64(f.InboxDisk),
		UserFull:    full,
		DiskFull:    diskFull,
		Window:      f.InboxWindow,
		Sync:        time.Duration(f.InboxSync),
		Logger:      log,
	}, nil
}

// isStoreError tells whether what is wrong is the store, not how it was asked for.
func isStoreError(err error) bool {
	for _, is := range []error{inbox.ErrDamaged, inbox.ErrLocked, inbox.ErrUnavailable} {
		if errors.Is(err, is) {
			return true
		}
	}
	var file *fs.PathError
	return errors.As(err, &file)
}

// cluster is the configuration of the cluster that --nats names.
func (f *inboxFlags) cluster(log *slog.Logger) cluster.Config {
	return cluster.Config{URL: f.NATS, Credentials: f.NATSCreds, CA: f.NATSCA, Cert: f.NATSCert, Key: f.NATSKey, Name: f.NodeName, Logger: log}
}
