package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"fanfare/server/inbox"
)

// inboxFlags are those for messages that are kept. Where the name of a field
// without "Inbox" is that of a field of inbox.Config, it means the same.
type inboxFlags struct {
	DataDir      string `help:"Keep durable messages in this directory." placeholder:"DIR"`
	NATS         string `name:"nats" help:"Keep them in this NATS cluster with JetStream instead: nats://a,nats://b." placeholder:"URL"`
	NATSCreds    string `name:"nats-creds" help:"Credentials for it." placeholder:"FILE"`
	NATSCA       string `name:"nats-ca" help:"Authorities that its certificate is checked with, PEM." placeholder:"FILE"`
	NATSCert     string `name:"nats-cert" help:"Certificate to present to it, PEM." placeholder:"FILE"`
	NATSKey      string `name:"nats-key" help:"The key of that, PEM." placeholder:"FILE"`
	NATSReplicas int    `name:"nats-replicas" help:"Copies of each message there." default:"1"`

	InboxMessages int           `help:"Messages kept for one user." default:"1000"`
	InboxBytes    size          `help:"Payloads kept for one user." default:"1MiB"`
	InboxAge      time.Duration `help:"How long messages are kept." default:"168h"`
	InboxDisk     size          `help:"Disk for all messages." default:"4GiB"`
	InboxFull     string        `help:"At a user's limit: drop-oldest, or refuse with 507." enum:"drop-oldest,refuse" default:"drop-oldest"`
	InboxDiskFull string        `help:"At the limit of the disk: refuse with 507, or drop-oldest." enum:"drop-oldest,refuse" default:"refuse"`
	InboxWindow   time.Duration `help:"How long a repetition with the same id is recognized." default:"2m"`
	InboxSync     flush         `help:"How often --data-dir is flushed to the disk, which is what a power cut can cost; always: before each push is answered." default:"1s"`
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
	switch {
	case f.DataDir == "" && f.NATS == "":
		return nil, nil
	case f.DataDir != "" && f.NATS != "":
		return nil, errors.New("--data-dir and --nats exclude each other")
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
		Dir:         f.DataDir,
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
	return false
}
