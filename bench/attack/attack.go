package attack

import (
	"context"
	"fmt"
	"math"
	"time"
)

// An Attack is one way to hurt a server, and how it has to take it.
type Attack struct {
	Name string
	Load string // in words

	count    int                                   // of attackers
	attack   func(m *mob)                          // in the process of the attackers
	flags    []string                              // of the server
	environ  []string                              // of the server
	files    int                                   // its limit on descriptors; 0: that of this process
	loopback bool                                  // it listens there only, and so sets no rate for /echo
	own      bool                                  // the attackers have a network of their own
	always   func(ctx context.Context, r *running) // in this process, before the attack as well
	beside   func(ctx context.Context, r *running) // in this process, when the attackers are in place
	least    time.Duration                         // how long it takes, at the least
	memory   int64                                 // what the server may use more than before, in bytes
	check    func(r *running)                      // what must have become of the attackers
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// room is what any attack may cost, whatever the attackers do: read buffers of workers, handshakes under
// way, garbage.
const room = 48 * mib

// All attacks, in the order in which they are run. The short forms have fewer attackers.
func All(short bool) []Attack {
	n := func(long, shortened int) int {
		if short {
			return shortened
		}
		return long
	}
	per := func(count int, bytes int64) int64 { return room + int64(count)*bytes }
	begun := n(10_000, 300)
	requests := []string{}
	if short {
		requests = []string{"--handshake-timeout", "500ms"}
	}
	proxy := func(flags ...string) []string { return append(flags, "--trusted-proxy", attackers.String()) }
	all := []Attack{
		{
			Name: "half-handshakes", Load: fmt.Sprintf("%d requests, a byte a second each", begun),
			count: begun, attack: halfHandshakes, flags: requests,
			memory: per(begun, 2*kib), // a request is shorter than 512 bytes; the rest is the session
			check: func(r *running) {
				r.want("refused 408", 1)
				r.metric("fanfare_accept_pauses_total", 0, 0)
			},
		},
		{
			Name: "mid-header", Load: fmt.Sprintf("%d stop in the header of a frame", begun),
			count: begun, attack: stopped(midHeader), memory: per(begun, 2*kib),
			check: func(r *running) { r.want("opened", begun) },
		},
		{
			Name: "mid-payload", Load: fmt.Sprintf("%d stop 1,000 bytes into a payload of 60 KiB", begun),
			count: begun, attack: stopped(midPayload), memory: per(begun, 4*kib), // what has come, not what is declared
			check: func(r *running) { r.want("opened", begun) },
		},
		{
			Name: "mid-message", Load: fmt.Sprintf("%d stop between fragments", begun),
			count: begun, attack: stopped(midMessage), memory: per(begun, 3*kib),
			check: func(r *running) { r.want("held to the end", begun) },
		},
		{
			Name: "non-readers", Load: fmt.Sprintf("%d never read, broadcasts of 4 KiB go on, ten a second", n(2000, 100)),
			count: n(2000, 100), attack: deaf, always: broadcasts, memory: per(n(2000, 100), 64*kib),
			check: func(r *running) { r.metric(`fanfare_dropped_total{reason="full"}`, float64(n(1, 0)), math.Inf(1)) },
		},
		{
			Name: "declared-lengths", Load: fmt.Sprintf("%d declare up to 2^64-1 bytes, again and again", n(100, 50)),
			count: n(100, 50), attack: giants, memory: room,
			check: func(r *running) {
				r.want("closed 1009", 10)
				r.want("closed 1002", 10)
			},
		},
		{
			Name: "a-million-empty", Load: "4 send a million empty continuation frames, again and again, where no rate is set",
			count: 4, attack: million, memory: room, loopback: true,
			check: func(r *running) { r.want("closed 1008", 1) },
		},
		flood("empty-fragments", "empty continuation frames", "closed 1008", n(100, 20), frame(opText, nil), frame(opContinuation, nil)),
		// These reach the longest message before any rate.
		flood("byte-fragments", "fragments of 1 byte", "closed 1009", n(100, 20), frame(opText, []byte("x")), frame(opContinuation, []byte("x"))),
		flood("pings", "pings of 125 bytes", "closed 1008", n(100, 20), nil, frame(fin|opPing, make([]byte, 125))),
		flood("pongs", "empty pongs", "closed 1008", n(100, 20), nil, frame(fin|opPong, nil)),
		flood("tiny-messages", "messages of 1 byte", "closed 1008", n(100, 20), nil, frame(fin|opText, []byte("x"))),
		{
			Name: "bombs", Load: fmt.Sprintf("%d send what inflates to 64 KiB, and to more", n(100, 16)),
			count: n(100, 16), attack: bombs, flags: []string{"--compression"}, memory: per(n(100, 16), 256*kib),
			check: func(r *running) { r.want("closed 1009", 2) },
		},
		{
			Name: "storm", Load: fmt.Sprintf("%d connect and reset, at any stage, up to 4,000 a second", n(500, 50)),
			count: n(500, 50), attack: storm, memory: room,
			check: func(r *running) { r.want("reset", 100) },
		},
		{
			Name: "half-open", Load: fmt.Sprintf("the packets of %d peers are dropped", n(450, 50)), own: true,
			count: n(450, 50), attack: silent("/ws?user=gone%d"), beside: blackHole,
			flags:  []string{"--ping-interval", interval.String(), "--ping-timeout", timeout.String()},
			memory: room, least: interval + timeout + 2*time.Second,
		},
		{
			Name: "descriptors", Load: fmt.Sprintf("%d connections to a server that has %d descriptors", n(6000, 1000), n(4096, 600)),
			count: n(6000, 1000), attack: silent("/ws?user=greedy%d"),
			files: n(4096, 600), flags: []string{"--max-connections", "100000"}, memory: per(n(4096, 600), 2*kib),
			check: func(r *running) { r.metric("fanfare_accept_pauses_total", 1, math.Inf(1)) },
		},
		{
			Name: "hoards", Load: fmt.Sprintf("%d leave a message unfinished, 63 KiB each, 1,000 a second; GOMEMLIMIT is %d MiB", n(6000, 2000), n(128, 64)),
			count: n(6000, 2000), attack: hoards(1000, 63*kib), environ: []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", n(128, 64))}, memory: 100 * mib,
			check: func(r *running) {
				r.want("closed 1013", 1)
				r.limited("memory")
			},
		},
		{
			Name: "memory", Load: fmt.Sprintf("%d leave a message unfinished, 4 KiB each; GOMEMLIMIT is %d MiB", n(8000, 3500), n(32, 18)),
			count: n(8000, 3500), attack: hoards(5000, 4*kib-100), environ: []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", n(32, 18))}, memory: 60 * mib,
			least: 5 * time.Second, // until it is full
			check: func(r *running) {
				r.want("refused 503, Retry-After", 1)
				r.limited("memory")
			},
		},
		{
			Name: "per-address", Load: fmt.Sprintf("%d want connections from one address, which may have 20", n(100, 40)),
			count: n(100, 40), attack: crowd, flags: proxy("--connections-per-ip", "20"), memory: room,
			check: func(r *running) {
				r.want("refused 429, Retry-After", 1)
				r.most("opened", 20)
				r.limited("connections_per_ip")
			},
		},
		{
			Name: "address-rate", Load: fmt.Sprintf("%d shake hands from one address", n(100, 50)),
			count: n(100, 50), attack: hurry, flags: proxy("--handshakes-per-ip", "10"), memory: room,
			check: func(r *running) {
				r.want("refused 429, Retry-After", 1)
				r.limited("handshake_rate")
			},
		},
		{
			Name: "handshake-rate", Load: fmt.Sprintf("%d shake hands, each from an address of its own", n(500, 100)),
			count: n(500, 100), attack: swarm, flags: proxy("--handshake-rate", fmt.Sprint(n(400, 60))), memory: room,
			check: func(r *running) {
				r.want("refused 503, Retry-After", 1)
				r.limited("handshake_rate")
			},
		},
		{
			Name: "per-user", Load: fmt.Sprintf("%d want to be one user, who may have 16 connections", n(200, 50)),
			count: n(200, 50), attack: silent("/ws?user=twin&n=%d"), memory: room,
			check: func(r *running) {
				r.want("refused 429, Retry-After", 1)
				r.most("opened", 16)
				r.limited("sessions_per_user")
			},
		},
		{
			Name: "total", Load: fmt.Sprintf("%d want to connect to a server for %d", n(3000, 1000), n(4000, 600)),
			count: n(3000, 1000), attack: silent("/ws?user=many%d"),
			flags: []string{"--max-connections", fmt.Sprint(n(4000, 600))}, memory: per(n(4000, 600), 2*kib),
			check: func(r *running) {
				r.want("refused 503, Retry-After", 1)
				r.limited("connections")
			},
		},
		{
			Name: "api", Load: fmt.Sprintf("%d abuse the API: bodies, JSON, paths, keys", n(10, 2)*len(abuses)),
			count: n(10, 2) * len(abuses), attack: apiAbuse, environ: []string{"FANFARE_API_KEY=" + apiKey},
			// Of each kind, 2 + 2 + 4 MiB for two long bodies and a long line, and as much until it is collected.
			memory: per(n(10, 2), 16*mib),
			check: func(r *running) {
				r.most("wrong answers", 0)
				r.want("400", 5)
				r.want("401", 3)
				r.want("413", 1)
			},
		},
	}
	if short {
		for i := range all {
			all[i].flags = append(all[i].flags, "--close-timeout", "500ms") // of those that are refused
		}
	}
	return all
}

// flood makes an Attack of those that send too much, and how they are closed: the limits are the defaults.
func flood(name, what, end string, count int, first, each []byte) Attack {
	return Attack{
		Name: name, Load: fmt.Sprintf("%d send %s as fast as they can", count, what),
		count: count, attack: floods(first, each), memory: room + int64(count)*128*kib,
		check: func(r *running) { r.want(end, 10) },
	}
}

// interval and timeout of the heartbeats against half-open peers.
const (
	interval = 2 * time.Second
	timeout  = time.Second
)

// Find looks attacks up by name; none named is all.
func Find(names []string, short bool) (found []Attack, err error) {
	for _, name := range names {
		a, err := find(name, short)
		if err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	if len(names) == 0 {
		found = All(short)
	}
	return found, nil
}

func find(name string, short bool) (Attack, error) {
	for _, a := range All(short) {
		if a.Name == name {
			return a, nil
		}
	}
	return Attack{}, fmt.Errorf("attack: no attack is called %q", name)
}
