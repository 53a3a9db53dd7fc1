package presence

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"fanfare/server"
	"fanfare/server/internal/field"
	"fanfare/server/internal/natsconn"
)

// Reporter takes the events of the cluster, on the node that leads. webhook.Service is one.
// Its methods are called by one goroutine, but Resign may interrupt the others.
type Reporter interface {
	// Lead is called before the first Report.
	Lead(ctx context.Context) error
	// Report takes events with their identifiers. After an error they are given again with
	// the same identifiers, perhaps on another node.
	Report(ctx context.Context, events []server.Event, ids []string) error
	// Resign ends what Lead has begun.
	Resign()
}

// Members announces who joins and leaves presence topics, on the node that leads.
// server.Server is one. Its methods are called by one goroutine.
type Members interface {
	// LeadMembers is called before the first ChangeMembers, with what was announced.
	LeadMembers(present []server.MemberChange)
	ChangeMembers(changes []server.MemberChange)
	// ResignMembers ends what LeadMembers has begun.
	ResignMembers()
}

// Config configures a Service. URL is required, and Reporter, Members or Occupants.
type Config struct {
	// URL, Credentials, CA, Cert and Key say how to reach a NATS with JetStream of version
	// 2.11 or later. Replicas is how many servers of it store what was reported.
	URL, Credentials, CA, Cert, Key string
	Replicas                        int
	// Name of this node in the monitoring of NATS.
	Name string
	// Grace is how long a user must have no session to be offline.
	Grace time.Duration
	// Reporter takes the events of the cluster; nil: users and topics are not observed.
	Reporter Reporter
	// Members says that presence topics are observed, and announced by what Serve is given.
	Members bool
	// Occupants says that what ServeOccupants is given reports occupants: see node.Occupancy.
	Occupants bool
	// Next observes all other events. nil: none are wanted.
	Next server.Observer
	// Logger; nil: slog.Default().
	Logger *slog.Logger

	speed time.Duration // of tests: how often faster than the clock time passes for the node
}

// maxGrace is far above the time that a client takes to reconnect.
const maxGrace = 24 * time.Hour

// Validate returns the error with which Open would reject cfg. An error in a field has a
// method Field() string, for errors.As, that names it.
func (cfg Config) Validate() error { return cfg.validate() }

func (cfg *Config) validate() error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.Replicas, cfg.speed = max(cfg.Replicas, 1), max(cfg.speed, 1)
	var errs []error
	if err := natsconn.Validate(cfg.nats(nil)); err != nil {
		errs = append(errs, err)
	}
	if cfg.Grace < 0 || cfg.Grace > maxGrace {
		errs = append(errs, field.Errorf("Grace", "is %v: want 0s to %v", cfg.Grace, maxGrace))
	}
	if cfg.Reporter == nil && !cfg.Members && !cfg.Occupants {
		errs = append(errs, field.Errorf("Reporter", "is nil, and neither Members nor Occupants is set"))
	}
	if len(errs) > 0 {
		return field.Wrapf("presence: %w", errors.Join(errs...))
	}
	return nil
}

func (cfg *Config) nats(traffic *natsconn.Traffic) natsconn.Config {
	return natsconn.Config{URL: cfg.URL, Credentials: cfg.Credentials, CA: cfg.CA, Cert: cfg.Cert, Key: cfg.Key,
		Name: "fanfare presence " + cfg.Name, Role: "presence", Traffic: traffic, Logger: cfg.Logger}
}
