package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"fanfare/server"
	"fanfare/server/cluster"
	"fanfare/server/inbox"
)

// inboxFlags are the flags for durable messages. A field that, without "Inbox", is named
// like a field of inbox.Config means the same.
type inboxFlags struct {
	DataDir      string `help:"Directory for durable messages; none disables them. By default $STATE_DIRECTORY, or fanfare in $XDG_STATE_HOME or ~/.local/state; without a home directory /var/lib/fanfare for root." placeholder:"DIR"`
	NATS         string `name:"nats" help:"Store durable messages in this NATS cluster with JetStream instead, and share sessions with the other nodes that use it: nats://a,nats://b." placeholder:"URL"`
	NATSCreds    string `name:"nats-creds" help:"NATS credentials file." placeholder:"FILE"`
	NATSCA       string `name:"nats-ca" help:"Certificate authorities that verify NATS servers, PEM." placeholder:"FILE"`
	NATSCert     string `name:"nats-cert" help:"Client certificate for NATS, PEM." placeholder:"FILE"`
	NATSKey      string `name:"nats-key" help:"Key of the client certificate, PEM." placeholder:"FILE"`
	NATSReplicas int    `name:"nats-replicas" help:"Copies of each message in NATS." default:"1"`

	NodeName string `help:"Name of this node in the cluster and in events; by default the host name, in a cluster with a random suffix." placeholder:"NAME"`

	DurableTopic []string `help:"Topic whose messages are stored, or a prefix such as news.*; repeatable." placeholder:"TOPIC"`

	InboxMessages   int           `help:"Maximum number of stored messages per user, and per durable topic." default:"1000"`
	InboxBytes      size          `help:"Maximum size of the stored payloads per user, and per durable topic." default:"1MiB"`
	InboxAge        time.Duration `help:"How long messages are stored." default:"7d"`
	InboxDisk       size          `help:"Maximum size of the stored messages of all users, and of those of all topics." default:"4GiB"`
	InboxPositions  size          `help:"Maximum size of all acknowledged positions; 0: a sixteenth of --inbox-disk." default:"0"`
	InboxFull       string        `help:"What a durable push does at a user's limit: drop-oldest, or reject with 507." enum:"drop-oldest,reject" default:"drop-oldest"`
	InboxDiskFull   string        `help:"What a durable push does at the limit of all messages: reject with 507, or drop-oldest." enum:"drop-oldest,reject" default:"reject"`
	InboxWindow     time.Duration `help:"How long a repeated push with the same id is recognized." default:"2m"`
	InboxSync       flush         `help:"How often --data-dir is flushed to disk, which is what a power failure can lose; always: before each answer." default:"1s"`
	InboxAcceptLoss bool          `help:"Start although stored messages are missing from --data-dir; the users concerned receive a gap."`

	PlainAck        string `help:"How clients without fanfare.v1 acknowledge durable messages: pong, or none, for a proxy that answers pings itself." enum:"pong,none" default:"pong"`
	ReadyNeedsStore bool   `help:"Answer /readyz with 503 while durable messages cannot be stored."`
}

// StoreTimeouts are Timeout and StopTimeout of inbox.Config; zero: the defaults. Tests
// shorten them.
var StoreTimeouts struct{ Each, Stop time.Duration }

// defaultWindow is the default of --inbox-window, and of inbox.Config.Window.
const defaultWindow = 2 * time.Minute

// flush is a time, or always.
type flush time.Duration

func (f *flush) UnmarshalText(text []byte) error {
	if string(text) == "always" {
		*f = -1
		return nil
	}
	d, err := parseDuration(string(text))
	if err != nil || d < 10*time.Millisecond || d > time.Hour {
		return fmt.Errorf("want a duration like 1s, from 10ms to 1h, or always, not %q", text)
	}
	*f = flush(d)
	return nil
}

func (f flush) String() string {
	if f < 0 {
		return "always"
	}
	return formatDuration(time.Duration(f))
}

// store is the configuration of the store, nil if there is none. longest is the
// longest payload that the API accepts, in bytes.
func (f *inboxFlags) store(longest size, log *slog.Logger) (*inbox.Config, error) {
	if f.NATS != "" && f.DataDir != "" && f.DataDir != noDataDir {
		return nil, errors.New("--data-dir and --nats exclude each other")
	}
	if (f.NATSCert == "") != (f.NATSKey == "") {
		return nil, errors.New("--nats-cert and --nats-key belong together: want both, or neither")
	}
	dir := f.dataDir(log)
	if dir == "" && f.NATS == "" {
		return nil, nil
	}
	if info, err := os.Stat(dir); dir != "" && err == nil && !info.IsDir() {
		return nil, fmt.Errorf("--data-dir is %s, which is not a directory: give --data-dir a directory for durable messages, or none", dir)
	}
	if dir != "" {
		var err error
		if dir, err = filepath.Abs(dir); err != nil { // for the log, and for errors
			return nil, fmt.Errorf("--data-dir: %w", err)
		}
	}
	window := f.InboxWindow
	if window == defaultWindow {
		window = 0 // which a shorter --inbox-age shortens
	}
	full, err := inbox.ParseWhenFull(f.InboxFull)
	if err != nil {
		return nil, err
	}
	diskFull, err := inbox.ParseWhenFull(f.InboxDiskFull)
	if err != nil {
		return nil, err
	}
	if full == inbox.FullReject && diskFull == inbox.FullDropOldest {
		return nil, errors.New("--inbox-full reject does not go with --inbox-disk-full drop-oldest: a message that is not removed at one limit would be at the other")
	}
	return &inbox.Config{
		Dir:         dir,
		AcceptLoss:  f.InboxAcceptLoss,
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
		Positions:   int64(f.InboxPositions),
		UserFull:    full,
		DiskFull:    diskFull,
		Window:      window,
		Sync:        time.Duration(f.InboxSync),
		MaxPayload:  int64(longest),
		Timeout:     StoreTimeouts.Each,
		StopTimeout: StoreTimeouts.Stop,
		FieldName:   fieldNames("inbox"),
		Logger:      log,
	}, nil
}

// plain returns the dialect of clients without fanfare.v1.
func (f *inboxFlags) plain() server.Dialect {
	if f.PlainAck == "none" {
		return server.PlainUnacknowledged()
	}
	return server.Plain()
}

// cluster is the configuration of the cluster that --nats names; nil: a single node.
func (f *inboxFlags) cluster(log *slog.Logger) *cluster.Config {
	if f.NATS == "" {
		return nil
	}
	return &cluster.Config{URL: f.NATS, Credentials: f.NATSCreds, CA: f.NATSCA, Cert: f.NATSCert, Key: f.NATSKey, Name: f.NodeName, Logger: log}
}
