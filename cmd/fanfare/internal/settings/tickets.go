package settings

import (
	"slices"
	"time"

	"fanfare/server"
	"fanfare/server/ticket"
)

// ticketFlags are about clients that return without being identified again.
type ticketFlags struct {
	ResumeTickets   string        `help:"Send clients of fanfare.v1 a ticket with which they return without being identified again. The file has the keys that seal tickets, the same on all nodes, one per line." placeholder:"FILE" group:"Security" live:"yes"`
	ResumeTicketAge time.Duration `help:"How long after a client was identified its tickets are valid, unless its token expires before." default:"1h" group:"Security" live:"yes"`
}

// tickets is the configuration of resume tickets, nil if there are none.
func (f *ticketFlags) tickets() (*ticket.Config, error) {
	if f.ResumeTickets == "" {
		return nil, nil
	}
	lines, err := secretLines("resume-tickets", f.ResumeTickets)
	if err != nil {
		return nil, err
	}
	cfg := &ticket.Config{Age: f.ResumeTicketAge}
	for _, line := range lines {
		cfg.Keys = append(cfg.Keys, []byte(line))
	}
	return cfg, nil
}

// useTickets switches resume tickets on at the endpoint for push sessions. The parameters that
// its Identifier reads may be there beside a ticket.
func (cmd *Serve) useTickets(p *Plan, push *server.Endpoint) error {
	cfg, err := cmd.tickets()
	if err != nil || cfg == nil {
		return err
	}
	t, err := ticket.New(*cfg)
	if err != nil {
		return InFlags("ticket", err)
	}
	p.Tickets, p.TicketConfig = t, *cfg
	push.Tickets = t
	push.AllowQuery = slices.Concat(push.AllowQuery, []string{"token"}, cmd.ConnectHookQuery)
	return nil
}
